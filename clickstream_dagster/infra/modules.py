"""The modules of a project: what its YAML says, put into the parameters of the templates."""

from collections.abc import Callable, Sequence

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.modules_data import (
    athena,
    orchestration,
    processing,
    redshift,
)
from clickstream_dagster.infra.modules_ingestion import (
    arrivals,
    ingestion,
    serverless_ingestion,
    sink_kafka,
    sink_kinesis,
)
from clickstream_dagster.infra.modules_watch import observability
from clickstream_dagster.infra.settings import Infra, Pipeline
from clickstream_dagster.infra.values import Given, flag, part_name
from clickstream_dagster.infra.wanted import places


def modules_of(infra: Infra, pipeline: Pipeline) -> tuple[Module, ...]:
    """Give the modules that the YAML names, in order of need; nothing is read and nothing made.

    The settings are right: `rules.rule_faults` has found nothing.
    """
    given = Given(infra, pipeline, artifacts_of(infra, pipeline))
    makers: Sequence[Callable[[Given], Module | None]] = (
        storage,
        sink_kinesis,
        sink_kafka,
        ingestion,
        serverless_ingestion,
        arrivals,
        processing,
        redshift,
        athena,
        orchestration,
    )
    made = [module for make in makers if (module := make(given)) is not None]
    watching = observability(given, frozenset(module.name for module in made))
    return (*made, *([watching] if watching else []))


def artifacts_of(infra: Infra, pipeline: Pipeline) -> str | None:
    """Give the `s3://` place for code and long templates; None if the YAML names nothing on S3."""
    if infra.artifacts is not None:
        return infra.artifacts.rstrip("/")
    if pipeline.emr is not None:
        return pipeline.emr.artifacts.rstrip("/")
    for place in (pipeline.lake, pipeline.raw):
        if place.startswith(S3_SCHEME):
            return f"{place.rstrip('/')}/_artifacts"
    return None


def storage(given: Given) -> Module | None:
    """Buckets that the YAML names (unless they exist), the bucket of logs, and a key."""
    settings, pipeline = given.infra.storage, given.pipeline
    if settings is None:
        return None
    _, raw = given.place(pipeline.raw)
    _, results = given.place(pipeline.athena.results if pipeline.athena else None)
    _, artifacts = given.place(given.artifacts)
    return Module(
        name="storage",
        template="storage.yaml",
        parameters={
            "ProjectId": pipeline.project_id,
            "CreateKmsKey": flag(settings.kms_key),
            "KmsAlias": f"alias/clickstream-{pipeline.project_id}",
            "KmsKeyArn": pipeline.s3.kms_key_id or "",
            "RawPrefix": raw,
            "RawInfrequentDays": str(settings.raw_infrequent_days or 0),
            "RawExpireDays": str(settings.raw_expire_days or 0),
            "ArtifactsPrefix": artifacts,
            "ResultsPrefix": results or "results/",
            "ResultsExpireDays": str(settings.results_expire_days),
            "NoncurrentDays": str(settings.noncurrent_days),
            "LogsExpireDays": str(settings.logs_expire_days),
        },
        parts=() if settings.existing else _buckets(given),
        fixed=dict.fromkeys(
            ("CreateKmsKey", "KmsKeyArn"),
            "infra.storage.kms_key or s3.kms_key_id: what is written has the old key, "
            "which roles could no longer use",
        ),
    )


def _buckets(given: Given) -> tuple[Part, ...]:
    """Give a part for each bucket that the YAML names."""
    pipeline = given.pipeline
    results = pipeline.athena.results if pipeline.athena else None
    named = [place for _, place in places(given.infra, pipeline)]
    named += [given.artifacts] if given.artifacts else []
    buckets = sorted({split_s3(place)[0] for place in named})

    announced = given.infra.arrivals is not None

    def rule(bucket: str, place: str | None) -> str:
        return "Enabled" if place and given.place(place)[0] == bucket else "Disabled"

    return tuple(
        Part(
            "bucket.yaml",
            part_name(bucket),
            {
                "bucket": bucket,
                "raw_rule": rule(bucket, pipeline.raw),
                "artifacts_rule": rule(bucket, given.artifacts),
                "results_rule": rule(bucket, results),
                "announced": flag(announced and bucket == given.place(pipeline.raw)[0]),
            },
        )
        for bucket in buckets
    )
