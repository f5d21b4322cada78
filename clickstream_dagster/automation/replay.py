"""The job that processes bad records again, for the UI: `<project>_replay`."""

import dagster as dg
from pydantic import Field

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.project import Project
from clickstream_dagster.resources.spark import SparkEngine


class ReplayConfig(dg.Config):
    """Which bad records are processed again; without anything all of them."""

    reasons: list[str] = Field(default=[], description="Only records of these reasons.")
    since: str | None = Field(
        default=None,
        description="Only records that arrived at this time (UTC) or later, e.g. 2026-11-01.",
    )
    until: str | None = Field(
        default=None, description="Only records that arrived before this time (UTC)."
    )


def replay_job(project: Project, spark: SparkEngine) -> dg.JobDefinition:
    """Build the job that replays the bad records of a project."""
    spark_key = project.name("spark")

    @dg.op(
        name=project.name("bad_records"),
        description="Processes bad records again; what is good by now moves to ods_event.",
        pool=project.name("lake"),
        required_resource_keys={spark_key},
    )
    def replay(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        from clickstream_dagster.processing.bad_records import Selection
        from clickstream_dagster.processing.replay import replay_bad_records
        from clickstream_dagster.processing.replay_command import NOTHING, by_reason

        engine: SparkEngine = getattr(context.resources, spark_key)
        with clear_failures():
            counters = replay_bad_records(
                lambda: engine.session,
                project.batch_settings("replay"),
                Selection.of(config.reasons, config.since, config.until),
                context.log.info,
            )
        if not counters.chosen:
            context.log.info(NOTHING)
        records = [
            dg.TableRecord(
                {"reason": reason, "chosen": chosen, "mended": mended, "bad": bad, "left": left}
            )
            for reason, (chosen, mended, bad, left) in by_reason(counters).items()
        ]
        metadata = {**counters.as_dict(), **({"by_reason": _table(records)} if records else {})}
        context.add_output_metadata(metadata)
        for table in ("ods_event", "bad_event"):
            context.log_event(dg.AssetObservation(project.key(table), metadata=metadata))

    @dg.job(
        name=project.name("replay"),
        description="Processes the records of bad_event again after a fix, by reason and time of "
        "arrival. Nothing is there twice; the next run of the pipeline brings the models up to "
        "date.",
        resource_defs={spark_key: spark},
        tags=project.tags,
    )
    def replay_bad_events() -> None:
        replay()

    return replay_bad_events


def _table(records: list[dg.TableRecord]) -> dg.TableMetadataValue:
    columns = [
        dg.TableColumn(name, "string" if name == "reason" else "int") for name in records[0].data
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))
