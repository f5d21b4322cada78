"""The module that tells how the others are: dashboard, alarms, e-mail."""

from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.rules_data import EMR_SERVERLESS
from clickstream_dagster.infra.values import Given, Value, part_name

_WATCHED = {
    "LoadBalancerFullName": ("ingestion", "LoadBalancerFullName"),
    "TargetGroupFullName": ("ingestion", "TargetGroupFullName"),
    "CollectorClusterName": ("ingestion", "ClusterName"),
    "CollectorServiceName": ("ingestion", "ServiceName"),
    "CollectorMetricNamespace": ("ingestion", "MetricNamespace"),
    "StreamName": ("sink-kinesis", "StreamName"),
    "SinkFunctionName": ("sink-kinesis", "FunctionName"),
    "DeliveryStreamName": ("serverless-ingestion", "DeliveryStreamName"),
    "DistributionId": ("serverless-ingestion", "DistributionId"),
    "QueueName": ("arrivals", "QueueName"),
    "FailedQueueName": ("arrivals", "FailedQueueName"),
    "AthenaWorkGroupName": ("athena", "WorkGroupName"),
    "DagsterClusterName": ("orchestration", "ClusterName"),
    "DagsterDaemonName": ("orchestration", "DaemonServiceName"),
    "DagsterMetricNamespace": ("orchestration", "MetricNamespace"),
    "DatabaseIdentifier": ("orchestration", "DatabaseIdentifier"),
}
"""Parameter, and the output that it is of."""


def observability(given: Given, made: frozenset[str]) -> Module | None:
    """The dashboard and alarms of the modules that are made."""
    infra, settings = given.infra, given.infra.observability
    if settings is None:
        return None
    on_emr = "processing" in made and given.pipeline.engine == EMR_SERVERLESS
    watched: dict[str, Value] = {
        name: given.output(module, output, module in made)
        for name, (module, output) in _WATCHED.items()
    }
    new_warehouse = infra.redshift is not None and not infra.redshift.existing
    existing = given.pipeline.redshift.workgroup if given.pipeline.redshift else None
    return Module(
        name="observability",
        template="observability.yaml",
        parameters={
            **given.project,
            "CpuPercent": str(settings.cpu_percent),
            "PendingMinutes": str(settings.pending_minutes),
            "SilenceHours": str(settings.silence_hours),
            "FileAgeSeconds": str(settings.file_age_minutes * 60),
            "SegmentAgeSeconds": str(settings.segment_minutes * 60),
            "WarehouseDailySeconds": str((settings.warehouse_daily_rpu_hours or 0) * 3_600),
            **watched,
            "ApplicationId": given.output("processing", "ApplicationId", on_emr),
            "ApplicationName": given.output("processing", "ApplicationName", on_emr),
            "WorkgroupName": (
                given.output("redshift", "WorkgroupName", True) if new_warehouse else existing or ""
            ),
        },
        parts=tuple(
            Part("subscription.yaml", part_name(email), {"email": email})
            for email in settings.emails
        ),
    )
