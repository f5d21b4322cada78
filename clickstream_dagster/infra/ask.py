"""AWS asked by one call, with an answer for what is not there and a sentence for what is wrong."""

from collections.abc import Callable, Mapping
from typing import Any

from clickstream_dagster.errors import InfraError

_ACCESS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AccessDeniedFault")
_OTHER_REGION = ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")


def ask(call: Callable[[], Any], right: str, absent: Mapping[str, Any]) -> Any:
    """Give AWS's answer; for the error codes of `absent` the value beside them.

    Raises InfraError that names the right that is missing, or what else is wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in absent:
            return absent[code]
        if code in _ACCESS:
            raise InfraError(f"AWS may not be asked: allow {right} ({error})") from error
        if code in _OTHER_REGION:
            raise InfraError(
                "AWS does not take these credentials in the region: enable it in the account's "
                f"settings if it is an opt-in region, or correct s3.region or s3.profile ({error})"
            ) from error
        raise InfraError(f"AWS refused {right}: {error}") from error
    except BotoCoreError as error:
        raise InfraError(
            f"AWS could not be asked ({right}): {error}; check the credentials, s3.profile or "
            "AWS_PROFILE, the region and the endpoint"
        ) from error
