"""`make bench-models`: the models beside the seed's printed SQL, and an hour behind a history.

The SQL that seed 000 prints for its reports is transcribed to DuckDB in benchmarks/seed_views. What
it makes is compared with the project's views, row by row, in the columns where it is sound.

Arguments: events of the first part, 1,000,000 if left out, and events of a day of the history, a
fiftieth of them.
"""

import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.console import Console

from benchmarks.measure import run
from benchmarks.processing import CLICKSTREAM, bench_table, generate, process
from clickstream_dagster.processing.lake import Lake

SEED_VIEWS = Path(__file__).parent / "seed_views"
HISTORIES = (1, 10, 90)
"""Days of history behind an hour, the least first."""

# Rows that both must have: a query each on the seed's table and on the project's view.
_EVERYTHING = ("select * from seed.{view}", "select * exclude (app_id) from demo.{view}")
_LIFECYCLE = (
    "select * from seed.{view}",
    "select time_period, {stage}, sum(sum) from demo.{view} group by all",
)
_SESSION = """
    session_id, user_pseudo_id, platform, session_duration, session_views, engaged_session,
    bounced_session, session_start_timestamp, session_date, session_date_hour
"""
_PATH = "user_pseudo_id, event_id, event_name, event_timestamp, platform, session_id, event_rank"
SOUND = {
    "clickstream_ods_event_view": _EVERYTHING,
    "clickstream_ods_event_attr_view": (
        # The seed's text says the first value that is not empty, its SQL says not null.
        "select * replace (nullif(event_parameter_value, '') as event_parameter_value)"
        " from seed.{view}",
        "select * exclude (app_id) from demo.{view}",
    ),
    "clickstream_device_view": _EVERYTHING,
    "clickstream_lifecycle_daily_view": tuple(
        query.replace("{stage}", "this_day_value") for query in _LIFECYCLE
    ),
    "clickstream_lifecycle_weekly_view": tuple(
        query.replace("{stage}", "this_week_value") for query in _LIFECYCLE
    ),
    # Events without a session id make one session there, '#' here; joins by session_id alone make
    # rows twice there, and entry and exit views depend on ties.
    "clickstream_session_view": (
        f"select distinct {_SESSION} from seed.{{view}} where session_id is not null",
        f"select {_SESSION} from demo.{{view}} where session_id != '#'",
    ),
    # Neighbours in one millisecond come in any order there, and web pages are no screens. Events of
    # one millisecond have one rank there: rows with ranks behind them are other ones.
    "clickstream_path_view": (
        f"select {_PATH} from seed.{{view}} where session_id is not null",
        f"select {_PATH} from demo.{{view}} where session_id != '#'",
    ),
    "clickstream_user_dim_view": (
        "select user_pseudo_id, is_registered from seed.{view} group by all",
        "select user_pseudo_id, is_registered from demo.{view} where user_pseudo_id in"
        " (select user_pseudo_id from seed.{view})",
    ),
}


@dataclass(frozen=True, slots=True)
class Build:
    """Seconds of a build: of all, and by dbt's run_results.json of the models and of the tests.

    What is left of all is the start of Python and dbt, parsing, and what hooks ask before a run.
    """

    seconds: float
    models: float
    tests: float


def build(lake: Path, warehouse: Path) -> Build:
    """Build all models, their tests included, by the command that users run."""
    where = ("--sink", str(lake), "--project-id", "demo", "--warehouse", str(warehouse))
    measured = run([CLICKSTREAM, "model", *where])
    results = json.loads((warehouse.parent / "dbt" / "target" / "run_results.json").read_text())
    seconds = {"model": 0.0, "test": 0.0}
    for result in results["results"]:
        kind = result["unique_id"].partition(".")[0]
        if kind in seconds:
            seconds[kind] += result["execution_time"]
    return Build(measured.seconds, seconds["model"], seconds["test"])


def compare_with_seed(console: Console, directory: Path, events: int) -> None:
    """Print the seconds of all models and of the seed's SQL on the same lake, view by view."""
    raw, lake, warehouse = (directory / name for name in ("raw", "lake", "models.duckdb"))
    with console.status("preparing a lake"):
        generate(raw, events)
        process(raw, lake)
    with console.status("building the models"):
        models = build(lake, warehouse)
    table = bench_table(f"{events:,} events: the seed's SQL on DuckDB", "view", "s", "other rows")
    files = Lake(str(lake), "demo").data_files("ods_event")
    total = 0.0
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema seed; use seed")
        connection.from_parquet(files, hive_partitioning=False).create_view("ods_events")
        for path in sorted(SEED_VIEWS.glob("*.sql")):
            with console.status(path.stem):
                started = time.perf_counter()
                connection.execute(f"create table seed.{path.stem} as {path.read_text()}")
                seconds = time.perf_counter() - started
                theirs, ours = (query.format(view=path.stem) for query in SOUND[path.stem])
                (other,) = connection.execute(
                    f"select count(*) from (({theirs} except all {ours})"
                    f" union all ({ours} except all {theirs}))"
                ).fetchone()
            total += seconds
            table.add_row(path.stem, f"{seconds:.1f}", f"{other:,}")
        views = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'demo'"
            " and table_name like 'clickstream_%_view' order by 1"
        ).fetchall()
    for (view,) in views:
        if view not in SOUND:
            table.add_row(view, "no SQL printed", "")
    table.add_section()
    table.add_row("all of the seed's SQL", f"{total:.1f}", "")
    table.add_row("all models, tests included", f"{models.seconds:.1f}", "")
    table.add_row("  of these the models", f"{models.models:.1f}", "")
    table.add_row("  of these the tests", f"{models.tests:.1f}", "")
    table.add_row("times as fast: all", f"{total / models.seconds:.1f}", "")
    table.add_row("times as fast: the models", f"{total / models.models:.1f}", "")
    console.print(table)


def compare_histories(console: Console, directory: Path, events_a_day: int) -> None:
    """Print the seconds of the models for one new hour, behind some days of history."""
    longest = HISTORIES[-1]
    raw = directory / "raw"
    with console.status("generating a history"):
        generate(raw, (longest + 1) * events_a_day, "--days", str(longest + 1))
    *days, last = sorted(raw.glob("year=*/month=*/day=*"))[: longest + 1]
    hour = sorted(last.glob("hour=*"))[12]
    table = bench_table(
        f"The models for one new hour; {events_a_day:,} events a day",
        *("days before", "s", "x", "models, s", "x", "tests, s"),
    )
    first: Build | None = None
    for history in HISTORIES:
        with console.status(f"an hour behind {history} days"):
            chosen, lake = directory / f"raw-{history}", directory / f"lake-{history}"
            for day in days[-history:]:
                shutil.copytree(day, chosen / day.relative_to(raw))
            process(chosen, lake)
            warehouse = directory / f"{history}.duckdb"
            build(lake, warehouse)
            process(hour, lake)
            built = build(lake, warehouse)
        first = first or built
        table.add_row(
            str(history),
            f"{built.seconds:.2f}",
            f"{built.seconds / first.seconds:.2f}",
            f"{built.models:.2f}",
            f"{built.models / first.models:.2f}",
            f"{built.tests:.2f}",
        )
        shutil.rmtree(chosen)
        shutil.rmtree(lake)
    console.print(table)


def main(events: int, events_a_day: int) -> None:
    """Measure on so many events, and on histories of so many a day."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    with tempfile.TemporaryDirectory(prefix="clickstream-bench-") as folder:
        compare_with_seed(console, Path(folder) / "seed", events)
        compare_histories(console, Path(folder) / "histories", events_a_day)


if __name__ == "__main__":
    events, *rest = [*map(int, sys.argv[1:])] or [1_000_000]
    main(events, *(rest or [events // 50]))
