"""EMR Serverless as the engine of a run: a job run for each window, through Dagster Pipes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import dagster as dg

from clickstream_dagster import errors
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.emr.artifacts import Artifacts
from clickstream_dagster.emr.capacity import ARCHIVE_FOLDER, Capacity
from clickstream_dagster.emr.job import BatchJob
from clickstream_dagster.emr.package import PROJECT_FOLDER
from clickstream_dagster.errors import ClickstreamError, EngineError
from clickstream_dagster.resources.stack_outputs import StackOutputs

if TYPE_CHECKING:
    from clickstream_dagster.batches.ledger import Manifest
    from clickstream_dagster.processing.counters import BatchCounters
    from clickstream_dagster.processing.settings import BatchSettings

_AT_WORK = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED")
_CANCEL_SECONDS = 600

GEO_FOLDER = "geo"
"""Where an address database lies below the project's files in the archive."""


@dataclass(frozen=True)
class EmrServerlessEngine:
    """Processes a window as a job run of an EMR Serverless application.

    `artifacts` is the `s3://` address of the packages, logs and messages, `package` the digest of
    the package to run, None for the newest. `s3` reaches the artifacts, the raw objects and the
    lake; `access` and `endpoint_url` reach EMR Serverless. Seconds are those between looks at the
    job run and at its messages. With `stacks` application and role are those of the project's own
    infrastructure, looked up for each window.
    """

    application_id: str
    execution_role_arn: str
    artifacts: str
    capacity: Capacity
    package: str | None = None
    timeout_minutes: int = 720
    tags: Mapping[str, str] = field(default_factory=dict)
    s3: S3Access = field(default_factory=S3Access)
    access: S3Access = field(default_factory=S3Access)
    endpoint_url: str | None = None
    stacks: StackOutputs | None = None
    poll_seconds: float = 5

    def process(
        self,
        context: dg.AssetExecutionContext,
        settings: "BatchSettings",
        manifest: "Manifest",
        address: str,
    ) -> "BatchCounters":
        """Process the objects of a window's manifest, which lies at `address`.

        A job run of the same batch that is still at work, of a step that was lost, is cancelled
        first. Raises the ClickstreamError that the job ended with, or EngineError.
        """
        from clickstream_dagster.processing.counters import BatchCounters

        if self.stacks is not None:
            return self.of_stack(self.stacks).process(context, settings, manifest, address)
        artifacts = Artifacts(self.artifacts, self.s3)
        package = artifacts.package(self.package)
        name = f"{settings.project_id}-{settings.batch}"
        client = self.access.client_of("emr-serverless", self.access.region, self.endpoint_url)
        with self._clear_errors():
            self._end_earlier(context, client, name)
        messages = _messages(artifacts, self.poll_seconds)
        job_runs = _job_runs(client, messages, self.poll_seconds, artifacts.address("logs/"))
        job = BatchJob(_in_the_job(settings, client.meta.region_name), address)
        try:
            with self._clear_errors():
                job_runs.run(
                    context=context,
                    start_job_run_params={
                        "applicationId": self.application_id,
                        "executionRoleArn": self.execution_role_arn,
                        "name": name,
                        "executionTimeoutMinutes": self.timeout_minutes,
                        "tags": {**self.tags, "clickstream:project": settings.project_id},
                        "jobDriver": {
                            "sparkSubmit": {
                                "entryPoint": package.entry_point,
                                "sparkSubmitParameters": self.capacity.submit_parameters(
                                    package.archive
                                ),
                            }
                        },
                        "configurationOverrides": {
                            "monitoringConfiguration": {
                                "s3MonitoringConfiguration": {
                                    "logUri": artifacts.address("logs/"),
                                    **(
                                        {"encryptionKeyArn": self.s3.kms_key_id}
                                        if (self.s3.kms_key_id or "").startswith("arn:")
                                        else {}
                                    ),
                                }
                            }
                        },
                    },
                    extras=job.as_extras(),
                )
        except dg.DagsterExecutionInterruptedError:
            # The client cancels what it waits for, not a job run that it is just starting.
            self._cancel(context, client, name)
            raise
        except (RuntimeError, dg.DagsterInvariantViolationError) as error:
            raise self._failure(client, job_runs.started, messages.custom(), str(error)) from error
        for message in messages.custom():
            if "counters" in message:
                return BatchCounters(**message["counters"])
        raise EngineError(
            f"the job run {job_runs.started['jobRunId']} ended well, but its counters did not "
            f"arrive in {artifacts.address('pipes/')}: let the role {self.execution_role_arn} "
            "write there; the batch is committed, and running it again changes nothing"
        )

    def of_stack(self, stacks: StackOutputs) -> "EmrServerlessEngine":
        """Give the engine with the ids that the project's stack tells. Raises StackError."""
        return replace(
            self,
            application_id=stacks.get("processing", "ApplicationId"),
            execution_role_arn=stacks.get("processing", "ExecutionRoleArn"),
            stacks=None,
        )

    def _clear_errors(self) -> Any:
        return clear_aws_errors(
            EngineError,
            f"the EMR Serverless application {self.application_id}",
            "emr-serverless:StartJobRun, GetJobRun, ListJobRuns, CancelJobRun and "
            "GetDashboardForJobRun on it, and iam:PassRole on the execution role",
            "create it, or correct emr_serverless.application_id",
        )

    def _cancel(self, context: dg.AssetExecutionContext, client: Any, name: str) -> list[str]:
        """Cancel the job runs of a batch that are at work; give their ids."""
        pages = client.get_paginator("list_job_runs").paginate(
            applicationId=self.application_id, states=list(_AT_WORK)
        )
        found = [run for page in pages for run in page["jobRuns"] if run.get("name") == name]
        for run in found:
            if run["state"] != "CANCELLING":
                context.log.warning(f"cancelling the job run {run['id']} of this batch")
                client.cancel_job_run(applicationId=self.application_id, jobRunId=run["id"])
        return [run["id"] for run in found]

    def _end_earlier(self, context: dg.AssetExecutionContext, client: Any, name: str) -> None:
        """End the job runs of earlier attempts, and wait until they have ended."""
        earlier = self._cancel(context, client, name)
        end = time.monotonic() + _CANCEL_SECONDS
        while any(self._state(client, run)["state"] in _AT_WORK for run in earlier):
            if time.monotonic() > end:
                raise EngineError(
                    f"an earlier job run of {name} has not ended {_CANCEL_SECONDS // 60} minutes "
                    "after it was cancelled: end it in EMR Studio and run the window again"
                )
            time.sleep(self.poll_seconds)

    def _state(self, client: Any, job_run_id: str) -> Mapping[str, Any]:
        answer = client.get_job_run(applicationId=self.application_id, jobRunId=job_run_id)
        return answer["jobRun"]

    def _failure(
        self,
        client: Any,
        started: Mapping[str, Any],
        messages: Sequence[Mapping[str, Any]],
        otherwise: str,
    ) -> ClickstreamError:
        """Give the error that the job told of, else what EMR says, with the place of the logs."""
        job_run_id = started["jobRunId"]
        run = self._state(client, job_run_id)
        told = next((message for message in messages if "error" in message), {})
        kind = getattr(errors, told.get("kind") or "EngineError")
        reason = told.get("error") or run.get("stateDetails") or otherwise
        return kind(
            f"{reason} (job run {job_run_id} ended as {run['state']}; logs of the driver: "
            f"{driver_logs(f'{self.artifacts}/logs', self.application_id, job_run_id)})"
        )


def driver_logs(logs: str, application_id: str, job_run_id: str) -> str:
    """Give the folder in which EMR stores stdout.gz and stderr.gz of a driver."""
    return f"{logs.rstrip('/')}/applications/{application_id}/jobs/{job_run_id}/SPARK_DRIVER/"


def _in_the_job(settings: "BatchSettings", region: str) -> "BatchSettings":
    """Give the settings as they hold in a job run.

    Files of the project lie in its archive, its role takes the place of a profile, and without a
    region of its own the lake is in that of the application.
    """
    root = f"{ARCHIVE_FOLDER}/{PROJECT_FOLDER}"
    geo = settings.geo_database
    return replace(
        settings,
        s3=replace(settings.s3, profile=None, region=settings.s3.region or region),
        root=root,
        geo_database=f"{root}/{GEO_FOLDER}/{PurePosixPath(geo).name}" if geo else None,
    )


def _messages(artifacts: Artifacts, seconds: float) -> Any:
    """Give a reader of the messages of one job run, which lie below `pipes/` of the artifacts."""
    from dagster_aws.pipes import PipesS3MessageReader

    class Messages(PipesS3MessageReader):
        def custom(self) -> Sequence[Mapping[str, Any]]:
            return self._handler.get_custom_messages()

        @contextmanager
        def read_messages(self, handler: Any) -> Iterator[Any]:
            self._handler = handler
            with super().read_messages(handler) as params:
                yield params

        @contextmanager
        def get_params(self) -> Iterator[Any]:
            with super().get_params() as params:
                yield {**params, "key_prefix": f"{artifacts.prefix}pipes/{params['key_prefix']}"}

    return Messages(bucket=artifacts.bucket, client=artifacts.s3.client(), interval=seconds)


def _job_runs(client: Any, messages: Any, seconds: float, logs: str) -> Any:
    """Give a Pipes client that remembers the job run that it has started."""
    from dagster_aws.pipes import PipesEMRServerlessClient

    class JobRuns(PipesEMRServerlessClient):
        def _start(self, context: Any, params: Any) -> Any:
            self.started = super()._start(context, params)
            place = driver_logs(logs, self.started["applicationId"], self.started["jobRunId"])
            context.log.info(f"logs of the driver will be in {place}")
            return self.started

        def _read_messages(self, context: Any, session: Any, response: Any) -> None:
            """Messages come through S3 all the while; the client knows CloudWatch only."""

    return JobRuns(client=client, message_reader=messages, poll_interval=seconds)
