"""What a module would make must not be there already: destroy keeps data, under the same names."""

from collections.abc import Iterator

from clickstream_dagster.batches.objects import split_s3
from clickstream_dagster.infra.facts import Facts
from clickstream_dagster.infra.kept import (
    BUCKET,
    DATABASE,
    LOG_GROUP,
    NAMESPACE,
    STREAM,
    names_made,
)
from clickstream_dagster.infra.settings import Infra, Pipeline
from clickstream_dagster.infra.wanted import places


def kept_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    """Yield what would be made and is there, and not in a stack of the project."""
    yield from _bucket_faults(infra, pipeline, facts)
    made = names_made(infra, pipeline)
    taken = [one for one in made if one in facts.there and one not in facts.own]
    has_namespace = any(kind == NAMESPACE for kind, _ in taken)
    for kind, name in taken:
        if kind == STREAM:
            yield (
                f"infra.kinesis.new_stream: the stream {name} is there already: write false to use "
                "it, or another collector.sink.stream"
            )
        elif kind == DATABASE:
            yield (
                f"infra.processing.new_database: the Glue database {name} is there already: write "
                "false to use it"
            )
        elif kind == NAMESPACE:
            yield (
                f"infra.redshift.new_namespace: the namespace {name} is there already: write false "
                "to use it, and the ARN of its administrator's secret to secret_arn of the "
                "warehouse"
            )
        elif kind == LOG_GROUP and not has_namespace:
            yield (
                f"infra.redshift: the log group {name} is there already, left of a namespace that "
                "is gone: keep what you need of it, and delete it with `aws logs delete-log-group "
                f"--region {pipeline.s3.region} --log-group-name {name}`"
            )


def _bucket_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    if infra.storage is None or infra.storage.existing:
        return
    keys: dict[str, list[str]] = {}
    for key, place in places(infra, pipeline):
        keys.setdefault(split_s3(place)[0], []).append(key)
    key_too = (
        ", with the ARN of its key as s3.kms_key_id in place of infra.storage.kms_key"
        if infra.storage.kms_key
        else ""
    )
    for bucket, named in keys.items():
        # In another region it can't be used at all, which another rule tells.
        if facts.buckets.get(bucket) == pipeline.s3.region and (BUCKET, bucket) not in facts.own:
            yield (
                f"{', '.join(named)}: the bucket {bucket} is there already, and infra.storage "
                f"would make it: write infra.storage.existing: true to use it{key_too}, or another "
                "bucket"
            )
