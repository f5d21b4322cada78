"""`clickstream process`: the raw objects of a directory or prefix as one batch, without Dagster."""

import hashlib
from collections.abc import Callable, Sequence

from rich.console import Console

from clickstream_dagster.batches.objects import (
    S3_SCHEME,
    RawObject,
    list_objects,
    relative_key,
    would_list,
)
from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing import workers
from clickstream_dagster.processing.counters import BatchCounters
from clickstream_dagster.processing.settings import BatchSettings


def process_source(
    source: str, batch: str | None, settings: Callable[..., BatchSettings], engine: str
) -> BatchCounters:
    """List a source, process it and tell about it on standard error.

    `settings` makes the settings from the name of the batch. Raises ClickstreamError.
    """
    console = Console(stderr=True)
    if "://" in source and not source.startswith(S3_SCHEME):
        raise SettingError(f"source {source}: write a directory or s3://bucket/prefix")
    # Settings are checked before anything is listed or started.
    checked = settings(batch="unnamed" if batch is None else batch)
    if would_list(source, f"{checked.sink}/{checked.project_id}"):
        raise SettingError(
            f"the sink {checked.sink} lies in the source {source}, so that the lake's own files"
            " would be read as raw objects: name a sink beside it, or a folder in it that begins"
            " with _"
        )
    objects = list(list_objects(source, s3=checked.s3))
    chosen = settings(batch=batch_name(source, objects) if batch is None else batch)
    if not objects:
        console.print(f"{source} holds no raw objects: the batch is empty", style="yellow")
    with console.status(f"batch {chosen.batch}: starting {engine}") as status:
        if engine == "sail":
            workers.start(sum(raw.size for raw in objects))
        from clickstream_dagster.processing.engines import spark_session
        from clickstream_dagster.processing.job import process_batch

        def tell(message: str) -> None:
            console.print(message)
            status.update(f"batch {chosen.batch}: {message}")

        with spark_session(engine) as spark:
            counters = process_batch(spark, chosen, objects, tell)
    if problem := counters.imbalance():
        console.print(f"the counters do not add up, please report it: {problem}", style="red")
    return counters


def batch_name(source: str, objects: Sequence[RawObject]) -> str:
    """Name a batch after exactly these objects, so that other ones never replace what it wrote."""
    digest = hashlib.sha256()
    for raw in objects:
        digest.update(f"{relative_key(source, raw.uri)}\0{raw.size}\0{raw.etag}\n".encode())
    return f"objects-{digest.hexdigest()[:16]}"
