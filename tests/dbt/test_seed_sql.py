"""The views have the rows that the seed's printed SQL makes of the same events, where it is sound.

`make bench-models` compares the same queries on generated traffic; benchmarks/models.py says which
columns are left out, and why.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from benchmarks.models import SEED_VIEWS, SOUND
from clickstream_dagster.processing.lake import Lake
from tests.dbt.conftest import Models
from tests.dbt.model_input import PROJECT, traffic


def sound(batch: int) -> Iterator[dict[str, Any]]:
    """Traffic that the seed's SQL is meant for: one app, no ties, ids, starts and durations."""
    for number, row in enumerate(traffic(batch)):
        params = {param["key"]: param["value"] for param in row["event_params"]}
        session = params.get("_session_id", {}).get("string_value")
        if session and row["user_pseudo_id"] and row["platform"]:
            time = row["event_timestamp"] + number
            params.setdefault("_session_start_timestamp", {"int_value": time})
            params.setdefault("_session_duration", {"int_value": number})
            yield row | {
                "app_id": "web",
                "event_timestamp": time,
                "event_date": datetime.fromtimestamp(time / 1000, UTC).date(),
                "event_params": [{"key": key, "value": value} for key, value in params.items()],
            }


@pytest.fixture(scope="module")
def connection(build: Callable[..., Models]) -> Iterator[duckdb.DuckDBPyConnection]:
    models = build([*sound(1)], [*sound(2), *sound(9)])
    files = Lake(str(models.sink), PROJECT).data_files("ods_event")
    with duckdb.connect(str(models.file)) as connection:
        connection.execute("create schema seed; use seed")
        connection.from_parquet(files, hive_partitioning=False).create_view("ods_events")
        yield connection


@pytest.mark.parametrize("view", SOUND)
def test_the_rows_are_the_seeds(connection: duckdb.DuckDBPyConnection, view: str) -> None:
    printed = (SEED_VIEWS / f"{view}.sql").read_text()
    connection.execute(f"create table seed.{view} as {printed}")
    theirs, ours = (
        query.format(view=view).replace("demo.", f"{PROJECT}.") for query in SOUND[view]
    )
    assert len(connection.execute(ours).fetchall()) > 5
    differing = f"({theirs} except all {ours}) union all ({ours} except all {theirs})"
    assert connection.execute(differing).fetchall() == []


def test_every_view_that_the_seed_prints_is_compared() -> None:
    assert {path.stem for path in SEED_VIEWS.glob("*.sql")} == set(SOUND)
