"""The numbers of each day are compared between the warehouses of a project."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from clickstream_dagster.checks.parity import (
    MEASURES,
    MOST_SHOWN,
    Difference,
    differences,
    numbers_since,
    parity_check,
)
from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.components.warehouses import parity_defs
from clickstream_dagster.resources.dbt import ModelError, Warehouse

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=days) for days in range(4)]


def key(*path: str) -> dg.AssetKey:
    return dg.AssetKey(["shop", *path])


@pytest.fixture
def warehouse(tmp_path: Path) -> Callable[..., Warehouse]:
    """Make a warehouse whose daily tables have two rows of each of some days, each of ones."""

    def make(name: str, days: list[date]) -> Warehouse:
        place = Warehouse(tmp_path, "shop", tmp_path / f"{name}.duckdb")
        with duckdb.connect(str(place.file)) as connection:
            connection.execute("create schema shop")
            for table, measures in MEASURES.items():
                columns = ", ".join(f"1::int as {measure}" for measure in measures)
                connection.execute(
                    f"create table shop.{table} as select 'web' as app_id, unnest($1::date[])"
                    f" as report_date, {columns}",
                    [days * 2],
                )
        return place

    return make


def change(place: Warehouse, sql: str) -> None:
    with duckdb.connect(str(place.file)) as connection:
        connection.execute(sql)


def result(places: dict[str, Warehouse], days: int) -> dg.AssetCheckEvaluation:
    check = parity_check(key, "shop", {name: place.query for name, place in places.items()}, days)
    tables = [dg.AssetSpec(key(engine, table)) for engine in places for table in MEASURES]

    @dg.multi_asset(specs=tables)
    def build():
        for spec in tables:
            yield dg.MaterializeResult(asset_key=spec.key)

    done = dg.materialize([build, check])
    (found,) = done.get_asset_check_evaluations()
    return found


def test_equal_warehouses_pass(warehouse) -> None:
    found = result({"duckdb": warehouse("a", DAYS), "athena": warehouse("b", DAYS)}, 7)
    assert found.passed
    assert found.metadata["days"].value == len(DAYS)


def test_a_sum_and_a_day_that_differ_are_shown_with_both_numbers(warehouse) -> None:
    one, other, third = (warehouse(name, DAYS) for name in "abc")
    change(
        other,
        "update shop.clickstream_engagement_daily set session_views = 3"
        f" where report_date = '{DAYS[1]}'",
    )
    change(third, f"delete from shop.clickstream_active_users_daily where report_date = '{TODAY}'")
    found = result({"duckdb": one, "athena": other, "redshift": third}, 7)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    (row,) = found.metadata["athena"].records
    assert row.data == {
        "app_id": "web",
        "report_date": str(DAYS[1]),
        "measure": "session_views",
        "expected": "2",
        "found": "6",
    }
    missing = {row.data["found"] for row in found.metadata["redshift"].records}
    assert missing == {"no row"}
    measures = len(MEASURES["clickstream_active_users_daily"])
    assert found.metadata["differences"].value == 1 + measures


def test_days_before_those_asked_for_are_not_compared(warehouse) -> None:
    one, other = warehouse("a", DAYS), warehouse("b", DAYS[:3])
    assert result({"duckdb": one, "athena": other}, 2).passed
    assert not result({"duckdb": one, "athena": other}, 3).passed


def test_many_differences_are_counted_and_some_are_shown(warehouse) -> None:
    many = [TODAY - timedelta(days=days) for days in range(30)]
    found = result({"duckdb": warehouse("a", many), "athena": warehouse("b", [])}, 60)
    assert found.metadata["differences"].value == 30 * sum(map(len, MEASURES.values()))
    assert len(found.metadata["athena"].records) == MOST_SHOWN


def test_a_sum_of_nothing_is_zero_and_a_day_without_row_none(warehouse) -> None:
    place = warehouse("a", [TODAY])
    change(place, "update shop.clickstream_engagement_daily set session_count = null")
    numbers = numbers_since(place.query, "shop", TODAY)
    assert numbers[("web", str(TODAY))]["session_count"] == 0
    first, *_ = differences(numbers, {})
    assert first == Difference("web", str(TODAY), "daily_active_users", 2, None)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    place = Warehouse(tmp_path, "shop", tmp_path / "none.duckdb")
    with pytest.raises(ModelError, match=r"none\.duckdb"):
        place.query("select 1")


def test_it_needs_two_warehouses_and_is_in_the_job(tmp_path: Path) -> None:
    attributes = {
        "project_id": "shop",
        "app_ids": ["web"],
        "start_date": "2024-12-01",
        "lake": "s3://bucket/lake",
        "parity_days": 7,
    }
    with pytest.raises(Exception, match="parity_days compares warehouses"):
        ClickstreamProject.from_attributes_dict(attributes=attributes)
    athena = {"data": "s3://b/models", "results": "s3://b/results", "work_group": "shop"}
    both = [{"engine": "duckdb"}, {"engine": "athena", "athena": athena}]
    component = ClickstreamProject.from_attributes_dict(
        attributes={**attributes, "warehouses": both}
    )
    project = component.project(tmp_path)
    (check,) = parity_defs(project, component.warehouses, 7, tmp_path).asset_checks
    (spec,) = check.check_specs
    assert spec.asset_key == key("duckdb", "clickstream_active_users_daily")
    reports = ("active_users", "engagement", "retention", "path_transition", "funnel")
    assert {spec.asset_key, *(dep.asset_key for dep in spec.additional_deps)} == {
        key(engine, f"clickstream_{report}_daily")
        for engine in ("duckdb", "athena")
        for report in reports
    }
