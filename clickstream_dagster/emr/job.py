"""The job: one batch on the Spark session that EMR gives, told to Dagster by Pipes."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clickstream_dagster.batches.ledger import read_manifest
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.job import process_batch
from clickstream_dagster.processing.plugins import PluginChoice, one_line
from clickstream_dagster.processing.settings import BatchSettings
from clickstream_dagster.processing.stage_pass import Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MESSAGE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What a job run is asked for: how to process, and the address of the window's manifest."""

    settings: BatchSettings
    manifest: str

    def as_extras(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self)

    @classmethod
    def from_extras(cls, extras: Mapping[str, Any]) -> "BatchJob":
        """Read what `as_extras` gave."""
        settings = extras["settings"]
        return cls(
            BatchSettings(
                **{
                    **settings,
                    "s3": S3Access(**settings["s3"]),
                    "app_ids": tuple(settings["app_ids"]),
                    "transformer": _choice(settings["transformer"]),
                    "enrichments": tuple(_choice(one) for one in settings["enrichments"]),
                }
            ),
            extras["manifest"],
        )

    def run(self, spark: "SparkSession", tell: Progress) -> BatchCounters:
        """Process exactly the objects of the manifest. Raises ClickstreamError."""
        manifest = read_manifest(self.manifest, self.settings.s3)
        return process_batch(spark, self.settings, manifest.objects, tell)


def _choice(value: str | Mapping[str, Any]) -> str | PluginChoice:
    return value if isinstance(value, str) else PluginChoice(**value)


def main() -> None:
    """Run the job that Pipes describes in the environment; exit with 1 when it fails.

    Progress comes as log lines, the counters as a message `{"counters": …}`, and a failure as
    `{"error": text, "kind": the name of a ClickstreamError, or None}`.
    """
    from dagster_pipes import PipesS3MessageWriter, open_dagster_pipes
    from pyspark.sql import SparkSession

    # In EMR the messages are always in S3 itself, reached with the role of the job.
    writer = PipesS3MessageWriter(S3Access().client(), interval=_MESSAGE_SECONDS)
    failed = False
    with open_dagster_pipes(message_writer=writer) as pipes:
        try:
            job = BatchJob.from_extras(pipes.extras)
            spark = SparkSession.builder.getOrCreate()
            try:
                counters = job.run(spark, pipes.log.info)
            finally:
                spark.stop()
            pipes.report_custom_message({"counters": counters.as_dict()})
        except ClickstreamError as error:
            print(f"Error: {error}", file=sys.stderr)
            pipes.report_custom_message({"error": str(error), "kind": type(error).__name__})
            failed = True
        except Exception as error:
            pipes.report_custom_message({"error": one_line(error), "kind": None})
            raise
    if failed:
        sys.exit(1)
