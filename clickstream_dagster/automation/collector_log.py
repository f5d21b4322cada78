"""The sensor that fails when a collector does not get its log to the sink."""

import dagster as dg

from clickstream_dagster.assets.project import Project
from clickstream_dagster.resources.collector import CollectorError, waiting_at

SECONDS_BETWEEN_TICKS = 60


def collector_sensor(project: Project) -> dg.SensorDefinition:
    """Make `<project_id>_collector`: each minute it asks the collectors what waits in their logs.

    A tick fails, and so is seen and can alert, when a collector does not answer or its oldest
    segment waits longer than the project allows. It starts no run.
    """

    @dg.sensor(
        name=project.name("collector"),
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails when events wait too long in a collector's log.",
        tags=project.tags,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        told, wrong = [], []
        for address in project.collector.metrics:
            try:
                waiting = waiting_at(address)
            except CollectorError as error:
                wrong.append(str(error))
                continue
            told.append(f"{address}: {waiting.segments} segments wait")
            if waiting.oldest_seconds > project.collector.max_wait_seconds:
                wrong.append(
                    f"{address}: the oldest of {waiting.segments} segments has waited for "
                    f"{waiting.oldest_seconds / 60:.0f} minutes for the sink, at most "
                    f"{project.collector.max_wait_seconds / 60:.0f} are allowed; its log says why"
                )
        if wrong:
            raise CollectorError("; ".join(wrong))
        return dg.SkipReason("; ".join(told))

    return look
