"""A project's warehouse in Redshift: SQL by the Data API, dbt by redshift_connector."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.resources.dbt import dbt_settings, dbt_vars, invoke_dbt
from clickstream_dagster.resources.definitions import Definitions
from clickstream_dagster.resources.stack_outputs import StackOutputs
from clickstream_dagster.warehouses.redshift.data_api import Cluster, DataApi, Workgroup
from clickstream_dagster.warehouses.redshift.loading import CopySettings
from clickstream_dagster.warehouses.redshift.sql import RedshiftError, Row

MODULE = "redshift"
_HOST_OF_STACK = "redshift.invalid"  # dbt parses without a way to the warehouse
PASSWORD = "DBT_ENV_SECRET_REDSHIFT_PASSWORD"


@dataclass(frozen=True, slots=True)
class RedshiftWarehouse:
    """Where a project's events and models are in Redshift, and how SQL and dbt get there.

    `host` and `port` are for dbt, `endpoint_url` is the Data API's. `scratch` is dbt's directory.
    Of `s3` region and profile are used. What is left out of host, secret and role of COPY is
    that of the project's own infrastructure, which `stacks` tell when it is needed.
    """

    project_id: str
    database: str
    place: Cluster | Workgroup
    host: str | None
    scratch: Path
    port: int = 5439
    sslmode: str = "verify-full"
    endpoint_url: str | None = None
    s3: S3Access = field(default_factory=S3Access)
    definitions: Definitions = field(default_factory=Definitions)
    stacks: StackOutputs | None = None

    def sql(self) -> DataApi:
        """Give the way for SQL."""
        return DataApi(
            self._signed_in(),
            self.database,
            region=self.s3.region,
            access=self.s3,
            endpoint_url=self.endpoint_url,
        )

    def query(self, statement: str) -> list[Row]:
        """Give the rows of a query; dates and times as text. Raises RedshiftError."""
        return self.sql().query(statement)

    def environment(self) -> dict[str, str]:
        """The environment that dbt needs to parse; to sign in it needs `credentials` too."""
        found = {
            "CLICKSTREAM_PROJECT": self.project_id,
            "CLICKSTREAM_REDSHIFT_DATABASE": self.database,
            "CLICKSTREAM_REDSHIFT_HOST": self.host or _HOST_OF_STACK,
            "CLICKSTREAM_REDSHIFT_PORT": str(self.port),
            "CLICKSTREAM_REDSHIFT_SSLMODE": self.sslmode,
            **dbt_settings(self.scratch),
        }
        if self.s3.region is not None:
            found["AWS_REGION"] = self.s3.region
        if self.s3.profile is not None:
            found["AWS_PROFILE"] = self.s3.profile
        if isinstance(self.place, Workgroup):
            found["CLICKSTREAM_REDSHIFT_WORKGROUP"] = self.place.name
        else:
            found["CLICKSTREAM_REDSHIFT_CLUSTER"] = self.place.identifier
        return found

    def credentials(self) -> dict[str, str]:
        """How dbt signs in: as the Data API does. Raises RedshiftError for a secret without both.

        A secret is read now, and is in the environment of the run only.
        """
        place, host = self._signed_in(), {}
        if self.host is None and self.stacks is not None:
            host = {"CLICKSTREAM_REDSHIFT_HOST": self.stacks.get(MODULE, "Host")}
        if place.secret_arn is not None:
            user, password = self._secret(place.secret_arn)
            return {
                **host,
                "CLICKSTREAM_REDSHIFT_METHOD": "database",
                "CLICKSTREAM_REDSHIFT_USER": user,
                PASSWORD: password,
            }
        if isinstance(self.place, Cluster) and self.place.db_user is not None:
            return {
                "CLICKSTREAM_REDSHIFT_METHOD": "iam",
                "CLICKSTREAM_REDSHIFT_USER": self.place.db_user,
            }
        return {**host, "CLICKSTREAM_REDSHIFT_METHOD": "iam_role"}

    def copy_settings(self, copy: CopySettings) -> CopySettings:
        """Give how COPY reads the lake, with the role of the stack where the YAML names none."""
        if copy.role is not None or self.stacks is None:
            return copy
        return replace(copy, role=self.stacks.get(MODULE, "CopyRoleArn"))

    def _signed_in(self) -> Cluster | Workgroup:
        """Give the place with the secret of the stack, if that has made the warehouse."""
        if self.stacks is None or self.host is not None or self.place.secret_arn is not None:
            return self.place
        return replace(self.place, secret_arn=self.stacks.find(MODULE, "SecretArn"))

    def _secret(self, arn: str) -> tuple[str, str]:
        client = self.s3.client_of("secretsmanager", self.s3.region)
        with clear_aws_errors(
            RedshiftError,
            f"the secret {arn}",
            "secretsmanager:GetSecretValue",
            "correct its ARN",
        ):
            text = client.get_secret_value(SecretId=arn)["SecretString"]
        try:
            secret = json.loads(text)
            return secret["username"], secret["password"]
        except (ValueError, KeyError, TypeError) as error:
            raise RedshiftError(
                f"the secret {arn} is not one of Redshift: it needs username and password, as JSON"
            ) from error


def run_dbt_on_redshift(
    arguments: Sequence[str], warehouse: RedshiftWarehouse, *, check_everything: bool = False
) -> None:
    """Run one dbt command, such as `["build"]`. Raises ModelError when it does not pass.

    Tests look at the days of the last load, with `check_everything` at the whole history.
    """
    invoke_dbt(
        [*arguments, *dbt_vars(warehouse.definitions, check_everything=check_everything)],
        "redshift",
        {**warehouse.environment(), **warehouse.credentials()},
        f"{warehouse.place}, database {warehouse.database}",
    )
