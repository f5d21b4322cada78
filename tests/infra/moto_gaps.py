"""What moto's CloudFormation does not do with policies and some types, as AWS documents it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.emrserverless.models import emrserverless_backends
from moto.glue.models import glue_backends


@contextmanager
def without_gaps() -> Iterator[None]:
    """Leave `AWS::NoValue` out of lists, and make what moto has and its CloudFormation has not."""
    cleaning, known = parsing.clean_json, parsing.resource_class_from_type

    def clean(value: Any, resources: Any) -> Any:
        found = cleaning(value, resources)
        return [one for one in found if one is not None] if isinstance(found, list) else found

    def class_of(kind: str) -> Any:
        return _GAPS.get(kind) or known(kind)

    with (
        patch.object(parsing, "clean_json", clean),
        patch.object(parsing, "resource_class_from_type", class_of),
    ):
        yield


class Made(CloudFormationModel):
    """A resource of which moto's CloudFormation knows nothing but what `Ref` gives."""

    type = ""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @classmethod
    def cloudformation_type(cls) -> str:  # type: ignore[override]
        return cls.type

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: "Made", *arguments: Any, **options: Any
    ) -> "Made":
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(cls, *arguments: Any, **options: Any) -> None:
        return None

    def delete(self, account_id: str, region: str) -> None:
        return None


class _Secret(Made):
    """A secret: `Ref` gives its ARN."""

    type = "AWS::SecretsManager::Secret"

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


class _Database(Made):
    """A database of Glue, which can be made once."""

    type = "AWS::Glue::Database"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **options: Any,
    ) -> "_Database":
        told = cloudformation_json["Properties"]["DatabaseInput"]
        glue_backends[account_id][region_name].create_database(told["Name"], told)
        return cls(told["Name"])

    def delete(self, account_id: str, region: str) -> None:
        glue_backends[account_id][region].delete_database(self.name)


class _Application(Made):
    """An application of EMR Serverless, which nothing but its being there is told of."""

    type = "AWS::EMRServerless::Application"
    _NOT_TOLD = (
        *("initial_capacity", "maximum_capacity", "auto_start_configuration"),
        *("auto_stop_configuration", "network_configuration"),
    )

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **options: Any,
    ) -> "_Application":
        told = cloudformation_json["Properties"]
        made = emrserverless_backends[account_id][region_name].create_application(
            name=told["Name"],
            release_label=told["ReleaseLabel"],
            application_type=told["Type"],
            client_token="",
            tags={},
            **dict.fromkeys(cls._NOT_TOLD),
        )
        made.state = "CREATED"
        return cls(made.id)


_GAPS: dict[str, type[Made]] = {one.type: one for one in (_Secret, _Database, _Application)}
