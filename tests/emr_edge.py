"""EMR Serverless as boto3 sees it: the API of moto, but job runs are played, not done at once."""

import re
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

ROLE = "arn:aws:iam::123456789012:role/clickstream-processing"


@dataclass
class JobRun:
    """A job run that has been started."""

    run: Any

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def state(self) -> str:
        return self.run.state

    @property
    def spark_submit(self) -> Mapping[str, str]:
        return self.run.job_driver["sparkSubmit"]

    @property
    def settings(self) -> dict[str, str]:
        """The Spark settings, by name."""
        parameters = self.spark_submit["sparkSubmitParameters"]
        return dict(re.findall(r"--conf (\S+?)=(\S+)", parameters))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the driver."""
        prefix = "spark.emr-serverless.driverEnv."
        return {
            key.removeprefix(prefix): value
            for key, value in self.settings.items()
            if key.startswith(prefix)
        }


@dataclass
class Emr:
    """An application, and what plays its job runs: it gives the state that a run ends with."""

    application_id: str
    client: Any
    play: Callable[[JobRun], str] = lambda run: "SUCCESS"
    runs: list[JobRun] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)

    def start(self, run: Any) -> None:
        run.state = "SCHEDULED"
        job_run = JobRun(run)
        self.runs.append(job_run)
        self.started.set()
        threading.Thread(target=self._play, args=(job_run,), daemon=True).start()

    def _play(self, job_run: JobRun) -> None:
        state = "FAILED"
        try:
            state = self.play(job_run)
        except Exception:
            traceback.print_exc()
        if job_run.state != "CANCELLED":
            job_run.run.state_details = f"Job ended as {state}"
            job_run.run.state = state


def add_dashboard() -> None:
    """Give moto the dashboard, which the client asks for; before its server is first asked.

    The server works out its addresses with the first request to a service, of whatever test.
    """
    from moto.core.responses import ActionResult
    from moto.emrserverless import urls
    from moto.emrserverless.responses import EMRServerlessResponse

    def get_dashboard_for_job_run(self: Any) -> ActionResult:
        return ActionResult({"url": "https://dashboard.example"})

    jobs = "{0}/applications/(?P<applicationId>[^/]+)/jobruns/(?P<jobRunId>[^/]+)"
    urls.url_paths[f"{jobs}/dashboard$"] = EMRServerlessResponse.dispatch
    EMRServerlessResponse.get_dashboard_for_job_run = get_dashboard_for_job_run


@contextmanager
def emr_application() -> Iterator[Emr]:
    """Give a Spark application on the moto server that the environment names."""
    import boto3
    from moto.emrserverless.models import EMRServerlessBackend, emrserverless_backends

    with pytest.MonkeyPatch.context() as patch:  # runs take time
        client = boto3.client("emr-serverless")
        application = client.create_application(
            name="clickstream", releaseLabel="emr-7.9.0", type="SPARK"
        )
        emr = Emr(application["applicationId"], client)
        backend = emrserverless_backends["123456789012"]["us-east-1"]
        backend.job_runs[emr.application_id] = []
        start_job_run = EMRServerlessBackend.start_job_run

        def started(self: Any, **request: Any) -> Any:
            run = start_job_run(self, **request)
            emr.start(run)
            return run

        patch.setattr(EMRServerlessBackend, "start_job_run", started)
        yield emr
