"""The ten views of Athena have the rows that DuckDB's have, whatever way the lake took."""

from datetime import date

from clickstream_dagster.checks.parity import numbers_since
from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS
from tests.athena.conftest import TwoLakes
from tests.dbt.model_input import event, traffic

NUMBERS = (0.1, 1.0, -1.0, 0.0, 1e-3, 1.5e-4, 1e-4, 1.25e-7, 1e7, -12345678.5, 1e15)
NUMBERS += (123456789012345680.0, 1e16, 1e20, -1.5e300, 9007199254740993.0, 1e100, 2.5e-308)


def odd() -> list[dict]:
    """Events whose values each engine has its own way with."""
    values = {f"n{i}": number for i, number in enumerate(NUMBERS)}
    values |= {f"f{i}": {"float_value": n} for i, n in enumerate((0.1, 1e8, 2.5e-6, 16777216.0))}
    return [
        event("odd", "2024-12-31 23:59:59.999", "o1", params={**values, "empty": "", "none": None}),
        event(
            "_session_start", 253402300799999, "o2", session="far", event_date=date(9999, 12, 31)
        ),
        event("_page_view", "2025-01-01 00:00", "o3", params={"_session_start_timestamp": -1}),
        event("_page_view", "2025-01-01 00:00", "o4", params={"_page_title": "it's"}, user=None),
        event("a", "2025-01-01 00:00", "o5", session=None, event_params=None, user_properties=None),
        event(
            "a",
            "2025-01-02 00:00",
            "o6",
            params=[("_session_duration", 1 << 40), ("k", 1), ("k", 2)],
        ),
    ]


def test_load_by_load_they_are_those_of_one_build(lakes: TwoLakes) -> None:
    lakes.must_be_equal()


def test_the_numbers_of_the_parity_check_are_equal(lakes: TwoLakes) -> None:
    expected, found = (
        numbers_since(place.query, lakes.project, date(2024, 1, 1))
        for place in (lakes.duckdb, lakes.athena)
    )
    assert len(expected) > 3
    assert found == expected


def test_a_run_with_nothing_new_writes_nothing(lakes: TwoLakes) -> None:
    ran = [statement.text.lower() for statement in lakes.run_athena()]
    assert ran
    assert not [text for text in ran if "merge into" in text or "insert into" in text]
    lakes.must_be_equal()


def test_a_batch_that_is_processed_again_and_late_odd_events(lakes: TwoLakes) -> None:
    lakes.drop("b1")
    lakes.write(traffic(1, seed=8))
    lakes.write(odd())
    lakes.run_athena()
    lakes.run_duckdb()
    lakes.must_be_equal()


def test_a_full_refresh_changes_nothing_and_the_models_tests_pass(lakes: TwoLakes) -> None:
    lakes.run_athena("build", *WITHOUT_UNIT_TESTS, "--full-refresh")
    lakes.must_be_equal()


def test_no_event_is_copied(lakes: TwoLakes) -> None:
    kinds = {
        table["Name"]: table["TableType"]
        for page in lakes.glue.get_paginator("get_tables").paginate(DatabaseName=lakes.project)
        for table in page["TableList"]
    }
    assert kinds["clickstream_event_base"] == "VIRTUAL_VIEW"
    assert kinds["clickstream_session_base"] == "EXTERNAL_TABLE"
    assert not [name for name in kinds if "tmp" in name]
