"""SQL over the Redshift Data API: HTTPS with IAM, no connection, no driver, no way into a VPC.

A statement is handed over, then asked after until it has ended. Statements handed over together are
one transaction (AWS, Redshift Management Guide, "Using the Amazon Redshift Data API").
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.warehouses.redshift.sql import RedshiftError, Row, beginning

MAX_STATEMENTS = 40
"""Most statements of one transaction."""

MAX_STATEMENT_BYTES = 100_000

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A provisioned cluster.

    Signs in with the secret of Secrets Manager; else as `db_user` with temporary credentials of
    IAM; else as the user that stands for the IAM role or user itself.
    """

    identifier: str
    db_user: str | None = None
    secret_arn: str | None = None

    def arguments(self) -> dict[str, str]:
        """Give the arguments of the API's calls."""
        found = {"ClusterIdentifier": self.identifier}
        if self.secret_arn is not None:
            return {**found, "SecretArn": self.secret_arn}
        return found if self.db_user is None else {**found, "DbUser": self.db_user}

    def __str__(self) -> str:
        return f"the cluster {self.identifier}"


@dataclass(frozen=True, slots=True)
class Workgroup:
    """A workgroup of Redshift Serverless: signs in with a secret, else with IAM."""

    name: str
    secret_arn: str | None = None

    def arguments(self) -> dict[str, str]:
        """Give the arguments of the API's calls."""
        found = {"WorkgroupName": self.name}
        return found if self.secret_arn is None else {**found, "SecretArn": self.secret_arn}

    def __str__(self) -> str:
        return f"the workgroup {self.name}"


def place_of(
    workgroup: str | None,
    cluster: str | None,
    db_user: str | None = None,
    secret_arn: str | None = None,
) -> Cluster | Workgroup:
    """Give the place that settings name. Raises RedshiftError when they name none, or two."""
    if (workgroup is None) == (cluster is None):
        raise RedshiftError(
            "redshift needs either workgroup (Serverless) or cluster (provisioned): write one"
        )
    if cluster is not None:
        return Cluster(cluster, db_user, secret_arn)
    if db_user is not None:
        raise RedshiftError("db_user is for a cluster: leave it out, or write secret_arn")
    return Workgroup(str(workgroup), secret_arn)


class DataApi:
    """Implements `sql.Sql`. `timeout` is in seconds; a statement that takes longer is cancelled."""

    def __init__(
        self,
        place: Cluster | Workgroup,
        database: str,
        *,
        region: str | None = None,
        access: S3Access | None = None,
        endpoint_url: str | None = None,
        timeout: float = 3600,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._place = place
        self._database = database
        self._client = (access or S3Access()).client_of("redshift-data", region, endpoint_url)
        self._timeout = timeout
        self._sleep = sleep

    def query(self, statement: str) -> list[Row]:
        """Give the rows of a query."""
        statement_id = self._run([statement])
        rows: list[Row] = []
        token: dict[str, str] = {}
        while True:
            with self._errors("redshift-data:GetStatementResult"):
                answer = self._client.get_statement_result(Id=statement_id, **token)
            rows += [tuple(map(_value, record)) for record in answer["Records"]]
            if not answer.get("NextToken"):
                return rows
            token = {"NextToken": answer["NextToken"]}

    def execute(self, statement: str) -> None:
        """Run one statement."""
        self._run([statement])

    def transaction(self, statements: Sequence[str]) -> None:
        """Run statements in one transaction."""
        self._run(statements)

    def _run(self, statements: Sequence[str]) -> str:
        if len(statements) > MAX_STATEMENTS:
            raise RedshiftError(
                f"the Data API takes {MAX_STATEMENTS} statements in one transaction,"
                f" these are {len(statements)}"
            )
        for statement in statements:
            if len(statement.encode()) > MAX_STATEMENT_BYTES:
                raise RedshiftError(
                    f"the Data API takes {MAX_STATEMENT_BYTES} bytes in one statement; longer is"
                    f" {beginning(statement)}"
                )
        arguments = {**self._place.arguments(), "Database": self._database}
        with self._errors(
            "redshift-data:ExecuteStatement and redshift-data:BatchExecuteStatement, and to sign in"
            " redshift:GetClusterCredentials, redshift-serverless:GetCredentials or"
            " secretsmanager:GetSecretValue"
        ):
            if len(statements) == 1:
                answer = self._client.execute_statement(Sql=statements[0], **arguments)
            else:
                answer = self._client.batch_execute_statement(Sqls=list(statements), **arguments)
        self._wait(answer["Id"], statements)
        return answer["Id"]

    def _wait(self, statement_id: str, statements: Sequence[str]) -> None:
        waited, pause = 0.0, _FIRST_PAUSE
        while True:
            with self._errors("redshift-data:DescribeStatement"):
                answer = self._client.describe_statement(Id=statement_id)
            status = answer["Status"]
            if status == "FINISHED":
                return
            if status in ("FAILED", "ABORTED"):
                failed, reason = _failed(answer, statements)
                raise RedshiftError(
                    f"{self._place}, database {self._database}: {reason};"
                    f" the statement is {beginning(failed)}"
                )
            if waited >= self._timeout:
                with self._errors("redshift-data:CancelStatement"):
                    self._client.cancel_statement(Id=statement_id)
                raise RedshiftError(
                    f"{self._place}, database {self._database}: cancelled after"
                    f" {self._timeout:g} seconds; the statement is {beginning(statements[0])}"
                )
            self._sleep(pause)
            waited += pause
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _errors(self, right: str) -> Any:
        return clear_aws_errors(
            RedshiftError,
            f"the Data API of {self._place}",
            right,
            "correct its name, or the region",
        )


def _failed(answer: dict[str, Any], statements: Sequence[str]) -> tuple[str, str]:
    """Give the statement that failed, and why."""
    for statement, part in zip(statements, answer.get("SubStatements") or [], strict=False):
        if part["Status"] == "FAILED":
            return statement, part.get("Error") or answer.get("Error") or "failed"
    return statements[0], answer.get("Error") or answer["Status"].lower()


def _value(field: dict[str, Any]) -> object:
    if field.get("isNull"):
        return None
    (value,) = field.values()
    return value
