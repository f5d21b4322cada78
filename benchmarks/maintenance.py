"""`make bench-maintain`: a day of many small batches, read before and after its compaction."""

import json
import sys
import tempfile
import time
import uuid
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.measure import run
from clickstream_dagster.processing.lake import Lake, file_schema
from clickstream_dagster.processing.merging import FILE_ORDER, open_data_file

CLICKSTREAM = str(Path(sys.executable).parent / "clickstream")
PROJECT = ("--project-id", "demo")
APPS = ("--app-id", "demo_web", "--app-id", "demo_mobile")

QUERIES = {
    "count": "select count(*) from events where event_name = '_page_view'",
    "sessions": """
        select app_id, user_pseudo_id, session, count(*), min(event_timestamp), max(event_timestamp)
        from (
            select *, list_filter(event_params, lambda one: one.key = '_session_id')[1]
                .value.string_value as session
            from events
        )
        group by all
    """,
    "one user": """
        select * from events where user_pseudo_id = (select min(user_pseudo_id) from events)
    """,
}


def main(events: int) -> None:
    """Measure with so many generated events of one day and print a table."""
    console = Console(width=110)
    table = Table(title=f"One day, {events:,} events, two apps")
    for column in ("batches", "files", "MB", *QUERIES, "compaction", "MB/s", "peak memory"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as directory:
        raw, whole = f"{directory}/raw", f"{directory}/whole"
        with console.status("generating and processing"):
            run([CLICKSTREAM, "generate", "--out", raw, "--events", str(events), "--days", "1"])
            run([CLICKSTREAM, "process", "--source", raw, "--sink", whole, *PROJECT, *APPS])
        for batches in (24, 288):
            sink = f"{directory}/{batches}"
            with console.status(f"{batches} batches"):
                split(Lake(whole, "demo"), Lake(sink, "demo"), batches)
                before = seconds(sink)
                done = run([CLICKSTREAM, "maintain", "--sink", sink, *PROJECT])
                report = json.loads(done.output.splitlines()[-1])
                after = seconds(sink)
            size = report["compacted_bytes"] / 1e6
            table.add_row(
                f"{batches}",
                f"{report['files_before']:,}",
                f"{report['bytes_before'] / 1e6:,.1f}",
                *(f"{time:.2f} s" for time in before),
                f"{report['seconds']:.1f} s",
                f"{size / report['seconds']:.1f}",
                f"{done.peak_bytes / 2**30:.2f} GiB",
            )
            table.add_row(
                "compacted",
                f"{report['files_after']:,}",
                f"{report['bytes_after'] / 1e6:,.1f}",
                *(f"{time:.2f} s" for time in after),
                *("", "", ""),
            )
    console.print(table)


def split(whole: Lake, lake: Lake, batches: int) -> None:
    """Write the events of a lake into another one as batches of equal spans of arrival."""
    table = lake.table("ods_event")
    schema = file_schema(table)
    for file in whole.files("ods_event"):
        rows = pq.ParquetFile(file.path).read().sort_by("ingest_timestamp")
        paths = []
        for number in range(batches):
            first = rows.num_rows * number // batches
            part = rows.slice(first, rows.num_rows * (number + 1) // batches - first)
            if not part.num_rows:
                continue
            folder = Path(
                table.location().removeprefix("file://"), "data", *Path(file.path).parts[-3:-1]
            )
            folder.mkdir(parents=True, exist_ok=True)
            paths.append(str(folder / f"{uuid.uuid4().hex[:12]}-{number}.parquet"))
            batch = pa.array([f"b{number:03}"] * part.num_rows)
            place = part.schema.get_field_index("ingest_batch")
            part = part.set_column(place, schema.field("ingest_batch"), batch)
            with open_data_file(paths[-1], schema) as writer:
                writer.write_table(part.sort_by(FILE_ORDER).cast(schema))
        lake.commit(lake.table("ods_event"), remove=[], add=paths, properties={})


def seconds(sink: str) -> list[float]:
    """Give the seconds of each query on the files of a lake, the best of three."""
    files = Lake(sink, "demo").data_files("ods_event")
    with duckdb.connect() as connection:
        connection.execute(f"create view events as select * from read_parquet({files})")
        return [min(timed(connection, query) for _ in range(3)) for query in QUERIES.values()]


def timed(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    started = time.perf_counter()
    connection.execute(query).fetchall()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000)
