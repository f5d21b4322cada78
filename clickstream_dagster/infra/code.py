"""Code that AWS runs, as zip files in S3: the same content is put once, under its digest."""

import hashlib
import io
import zipfile
from pathlib import Path

from clickstream_dagster.batches.objects import split_s3
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.stacks import StackError
from clickstream_dagster.infra.template import infra_folder

_LEFT_OUT = ("__pycache__", ".DS_Store")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip file can tell
_READABLE = 0o644 << 16


def zipped(folder: Path) -> bytes:
    """Give the files of a folder as a zip file: the same bytes for the same names and content."""
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.is_file() and not any(part in _LEFT_OUT for part in file.parts)
    }
    if not files:
        raise SettingError(f"{folder} has no code: install the package again")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            about = zipfile.ZipInfo(name, _EARLIEST)
            about.external_attr = _READABLE
            # Not compressed: another version of zlib would make other bytes.
            archive.writestr(about, files[name].read_bytes(), zipfile.ZIP_STORED)
    return target.getvalue()


class CodeStore:
    """Where code and long templates of a project lie: `address` is `s3://bucket/prefix`."""

    def __init__(self, address: str | None, project_id: str, access: S3Access) -> None:
        self._access = access
        self._address = address
        self.bucket, prefix = split_s3(address) if address else (None, "")
        self._prefix = "/".join(filter(None, [prefix.strip("/"), "infra", project_id]))

    def key_of(self, content: bytes, suffix: str) -> str:
        """Give the key of a content."""
        return f"{self._prefix}/{hashlib.sha256(content).hexdigest()[:32]}{suffix}"

    def code_key(self, folder: str) -> str:
        """Give the key of a folder below `infra/`, whether it was put or not."""
        return self.key_of(zipped(infra_folder() / folder), ".zip")

    def put_code(self, folder: str) -> str:
        """Zip a folder below `infra/`, put it if it is not there, and give its key."""
        return self._put(zipped(infra_folder() / folder), ".zip")

    def put_template(self, text: str, region: str) -> str:
        """Put a template if it is not there, and give the address that CloudFormation takes."""
        key = self._put(text.encode(), ".yaml")
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        # With the bucket in the path: a dot in its name is no host name of the certificate.
        return f"https://s3.{region}.{suffix}/{self.bucket}/{key}"

    def _put(self, content: bytes, suffix: str) -> str:
        from botocore.exceptions import ClientError

        if self.bucket is None:
            raise SettingError(
                "a module has code or a long template, which go by way of S3: write a bucket for "
                "artifacts"
            )
        key = self.key_of(content, suffix)
        place = {"Bucket": self.bucket, "Key": key}
        with clear_aws_errors(
            StackError,
            f"{self._address}",
            "s3:GetObject and s3:PutObject there",
            "apply the module storage, or create it",
        ):
            client = self._access.client()
            try:
                client.head_object(**place)
            except ClientError as error:
                # Without the right to list, S3 says 403 of an object that is not there.
                if error.response["Error"]["Code"] not in ("404", "403", "NoSuchKey"):
                    raise
                client.put_object(**place, Body=content, **self._access.encryption())
        return key
