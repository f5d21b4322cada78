"""What a project's YAML says beside `infra`, as its modules take it; and the modules themselves."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.components.athena import Athena
from clickstream_dagster.components.emr import EmrServerless
from clickstream_dagster.components.redshift import Redshift
from clickstream_dagster.infra.checks import check_account
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.modules import artifacts_of, modules_of
from clickstream_dagster.infra.settings import AthenaBlock, EmrBlock, Pipeline, RedshiftBlock

if TYPE_CHECKING:
    from clickstream_dagster.components.project_yaml import ProjectYaml

_WINDOWS_LOOKED_AT = 200
"""Ticks of cron that are closer than an hour's are so in the first hours of a pattern already."""


def pipeline_of(project: "ProjectYaml") -> Pipeline:
    """Give what the other blocks of the YAML say."""
    s3 = project.s3.access()
    raw, lake = project.place(project.raw, "raw"), project.place(project.lake, "lake")
    plan = project.collector.plan(project.project_id, raw, s3, Path())
    sink = project.collector.sink
    blocks = {one.engine: one for one in project.warehouses}
    redshift = blocks["redshift"].redshift if "redshift" in blocks else None
    athena = blocks["athena"].athena if "athena" in blocks else None
    return Pipeline(
        project_id=project.project_id,
        app_ids=tuple(project.app_ids),
        raw=raw,
        lake=lake,
        s3=s3,
        shortest_minutes=shortest_minutes(project.partitions()),
        sink=sink.type or ("s3" if raw.startswith("s3://") else "directory"),
        kafka_brokers=tuple(sink.brokers),
        kafka_topic=sink.topic,
        kinesis_stream=sink.stream,
        collector=plan.settings,
        origins=plan.origins,
        write_keys_file=project.collector.write_keys is not None,
        endpoint=project.collector.endpoint,
        queue=project.arrivals.mode == "sqs",
        queue_url=project.arrivals.queue_url,
        engine=project.engine,
        duckdb="duckdb" in blocks,
        emr=_emr(project.emr_serverless) if project.emr_serverless else None,
        redshift=_redshift(redshift) if redshift else None,
        athena=_athena(athena, project.project_id) if athena else None,
    )


def infrastructure_of(project: "ProjectYaml") -> Infrastructure | None:
    """Give the modules that the YAML names, and how their account is reached; None without them."""
    if project.infra is None:
        return None
    settings, pipeline = project.infra.values(), pipeline_of(project)
    return Infrastructure(
        project_id=project.project_id,
        modules=modules_of(settings, pipeline),
        access=aws_access(project),
        artifacts=artifacts_of(settings, pipeline),
        tags=settings.tags,
        precondition=partial(check_account, settings, pipeline),
    )


def aws_access(project: "ProjectYaml") -> S3Access:
    """Give how AWS is reached: an address of S3 alone is not that of the other services."""
    return S3Access(project.s3.region, project.s3.profile)


def shortest_minutes(partitions: dg.TimeWindowPartitionsDefinition) -> float:
    """Give the minutes of the shortest window of an interval."""
    moment, shortest = partitions.start, float("inf")
    for _ in range(_WINDOWS_LOOKED_AT):
        window = partitions.get_next_partition_window(moment, respect_bounds=False)
        if window is None:
            break
        shortest = min(shortest, (window.end - window.start).total_seconds() / 60)
        moment = window.end
    return shortest


def _emr(block: EmrServerless) -> EmrBlock:
    capacity = block.capacity()
    workers = [(capacity.driver, 1), (capacity.executor, capacity.max_executors)]
    return EmrBlock(
        artifacts=block.artifacts,
        application_id=block.application_id,
        execution_role_arn=block.execution_role_arn,
        region=block.region,
        cpus=sum(worker.cores * count for worker, count in workers),
        memory_gb=sum(worker.memory_gb * count for worker, count in workers),
        disk_gb=sum((worker.disk_gb or 20) * count for worker, count in workers),
    )


def _redshift(block: Redshift) -> RedshiftBlock:
    return RedshiftBlock(
        database=block.database,
        manifests=block.manifests,
        port=block.port,
        host=block.host,
        workgroup=block.workgroup,
        cluster=block.cluster,
        db_user=block.db_user,
        secret_arn=block.secret_arn,
        copy_role_arn=block.copy_role_arn,
    )


def _athena(block: Athena, project_id: str) -> AthenaBlock:
    return AthenaBlock(
        data=block.data,
        results=block.results,
        work_group=block.work_group or project_id,
        scan_limit_bytes=round(block.scan_limit_gb * 1e9),
        kms_key_id=block.kms_key_id,
    )
