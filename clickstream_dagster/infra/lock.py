"""One apply or destroy of a project at a time: a lock that is a parameter of SSM."""

import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.infra.clients import client_of


class LockError(ClickstreamError):
    """A lock that another one holds, or that can't be taken."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, for which command, and since when, in UTC."""

    who: str
    command: str
    since: str
    token: str = ""

    def __str__(self) -> str:
        return f"{self.who} since {self.since} ({self.command})"


class ProjectLock:
    """The lock of a project in an account and region."""

    def __init__(self, project_id: str, access: S3Access) -> None:
        self.name = f"/clickstream/{project_id}/infrastructure-lock"
        self._project_id = project_id
        with self._clear("PutParameter"):
            self._ssm = client_of(access, "ssm")

    @contextmanager
    def held(self, command: str) -> Iterator[None]:
        """Hold the lock while a command runs; it is given back on errors and interrupts, too.

        A lock never runs out by itself: CloudFormation may be at work for hours. Raises LockError
        with the holder if another one has it.
        """
        token = self._take(command)
        try:
            yield
        finally:
            holder = self.holder()
            if holder is not None and holder.token == token:
                self._delete()

    def holder(self) -> Holder | None:
        """Give who has the lock, None if nobody has."""
        with self._clear("GetParameter"):
            try:
                value = self._ssm.get_parameter(Name=self.name)["Parameter"]["Value"]
            except self._ssm.exceptions.ParameterNotFound:
                return None
        try:
            return Holder(**json.loads(value))
        except (ValueError, TypeError):
            return Holder(f"somebody ({value!r})", "an unknown command", "an unknown time")

    def break_it(self) -> Holder | None:
        """Take the lock from whoever has it; give who that was."""
        holder = self.holder()
        if holder is not None:
            self._delete()
        return holder

    def _take(self, command: str) -> str:
        token = uuid.uuid4().hex
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        value = json.dumps(asdict(Holder(_who(), command, now, token)))
        with self._clear("PutParameter"):
            try:
                self._ssm.put_parameter(
                    Name=self.name,
                    Value=value,
                    Type="String",
                    Overwrite=False,
                    Description="Held while clickstream infra changes the project's stacks",
                )
            except self._ssm.exceptions.ParameterAlreadyExists as error:
                raise LockError(
                    f"the infrastructure of {self._project_id} is locked by {self.holder()}: wait "
                    "for its end; or, if that process is no more, `clickstream infra apply "
                    f"{self._project_id} --break-lock`"
                ) from error
        return token

    def _delete(self) -> None:
        with self._clear("DeleteParameter"):
            try:
                self._ssm.delete_parameter(Name=self.name)
            except self._ssm.exceptions.ParameterNotFound:
                return

    def _clear(self, right: str) -> AbstractContextManager[Any]:
        return clear_aws_errors(
            LockError, f"the lock {self.name} in SSM", f"ssm:{right}", "check the region"
        )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
