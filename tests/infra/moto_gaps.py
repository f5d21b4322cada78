"""What moto's CloudFormation does not do with a policy or a secret, as AWS documents it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel


@contextmanager
def without_gaps() -> Iterator[None]:
    """Leave `AWS::NoValue` out of lists, and give secrets an ARN, in this process's moto."""
    cleaning, known = parsing.clean_json, parsing.resource_class_from_type

    def clean(value: Any, resources: Any) -> Any:
        found = cleaning(value, resources)
        return [one for one in found if one is not None] if isinstance(found, list) else found

    def class_of(kind: str) -> Any:
        return _Secret if kind == _Secret.cloudformation_type() else known(kind)

    with (
        patch.object(parsing, "clean_json", clean),
        patch.object(parsing, "resource_class_from_type", class_of),
    ):
        yield


class _Secret(CloudFormationModel):
    """A secret: `Ref` gives its ARN."""

    def __init__(self, arn: str) -> None:
        self.arn = arn

    @property
    def physical_resource_id(self) -> str:
        return self.arn

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SecretsManager::Secret"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **options: Any,
    ) -> "_Secret":
        return cls(
            f"arn:aws:secretsmanager:{region_name}:{account_id}:secret:{resource_name}-a1b2c3"
        )

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: "_Secret", *arguments: Any, **options: Any
    ) -> "_Secret":
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, *arguments: Any, **options: Any) -> None:
        return None

    def delete(self, account_id: str, region: str) -> None:
        return None
