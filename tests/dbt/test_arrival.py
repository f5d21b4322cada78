"""Models follow the lake batch by batch, and end where a build from nothing ends."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from clickstream_dagster.processing import maintenance
from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.maintenance import MaintenanceSettings, maintain
from clickstream_dagster.resources.dbt import WITHOUT_UNIT_TESTS
from tests.dbt.conftest import Models
from tests.dbt.model_input import DAY, PROJECT, drop, event, traffic, write
from tests.views import DAILY_REPORTS, REPORT_VIEWS, VIEWS

BATCHES = [traffic(1), traffic(2), traffic(3)]


def same_as_from_nothing(models: Models) -> None:
    """Assert that the ten views are what a full refresh makes of the same lake."""
    built = models.everything()
    models.dbt("run", "--full-refresh", "--select", "tag:base")
    expected = models.everything()
    for view, rows in expected.items():
        assert built[view] == rows, view


def same_after(new_models: Callable[[], Models], *batches: list[dict[str, Any]]) -> Models:
    """Follow batches one by one, assert that a full refresh changes nothing, give the models."""
    models = new_models()
    for batch in batches:
        write(models.sink, batch)
        models.follow()
    models.run()
    same_as_from_nothing(models)
    return models


def tables(models: Models) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of the project with all its rows: base models and ledger."""
    names = models.query(
        "select table_name from information_schema.tables"
        f" where table_schema = '{PROJECT}' and table_type = 'BASE TABLE'"
    )
    return {name: models.rows(name, "*") for (name,) in names}


@pytest.fixture(scope="module")
def at_once(build: Callable[..., Models]) -> Models:
    return build(*BATCHES)


@pytest.fixture(scope="module")
def in_order(new_models: Callable[[], Models]) -> Models:
    models = new_models()
    write(models.sink, BATCHES[0])
    models.run()
    for batch in BATCHES[1:]:
        write(models.sink, batch)
        models.follow()
    return models


def test_batches_in_order_end_in_the_same_views_as_one_build(
    in_order: Models, at_once: Models
) -> None:
    assert in_order.everything() == at_once.everything()


def test_batches_out_of_order_end_in_the_same_views(
    new_models: Callable[[], Models], at_once: Models
) -> None:
    models = new_models()
    write(models.sink, BATCHES[2])
    models.run()
    write(models.sink, BATCHES[0])
    write(models.sink, BATCHES[1])
    models.follow()
    assert models.everything() == at_once.everything()


def test_a_run_with_nothing_new_changes_nothing(in_order: Models) -> None:
    before = tables(in_order)
    in_order.follow()
    assert tables(in_order) == before


def test_every_batch_a_second_time_changes_no_view(in_order: Models, at_once: Models) -> None:
    for number, batch in enumerate(BATCHES, start=1):
        drop(in_order.sink, f"b{number}")
        write(in_order.sink, batch)
    in_order.follow()
    assert in_order.everything() == at_once.everything()
    files = Lake(str(in_order.sink), PROJECT).data_files("ods_event")
    assert in_order.rows("clickstream_load_file", "lake_file") == [(file,) for file in files]
    assert in_order.rows("clickstream_load_removal", "*") == []


def test_a_batch_with_other_events_and_a_batch_that_is_gone(in_order: Models) -> None:
    drop(in_order.sink, "b2")
    write(in_order.sink, BATCHES[1][:40] + traffic(2, seed=8)[40:])
    in_order.follow()
    drop(in_order.sink, "b1")
    in_order.follow()
    same_as_from_nothing(in_order)


@pytest.mark.heavy
def test_events_at_both_ends_of_the_calendar_are_followed(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    write(models.sink, BATCHES[0])
    models.run()
    last = event("_page_view", 253402300799999, "last", event_date=date(9999, 12, 31))
    first = event("_page_view", -62135596800000, "first", event_date=date(1, 1, 1), session=None)
    write(models.sink, [last, first])
    models.follow()
    same_as_from_nothing(models)


@pytest.mark.heavy
@pytest.mark.parametrize("platform", ["iOS", None])
def test_a_session_on_two_platforms_is_one_path(
    new_models: Callable[[], Models], platform: str | None
) -> None:
    a = {"_page_title": "A"}
    b = {"_page_title": "B"}
    models = same_after(
        new_models,
        [
            event("login", "2024-05-01 10:00", "a", platform=platform),
            event("_page_view", "2024-05-01 10:01", "b", platform=platform, params=a),
        ],
        [event("_page_view", "2024-05-05 10:00", "c", params=b, batch="late")],
    )
    columns = "event_id, event_rank, previous_screen, next_event, next_screen"
    assert models.rows("clickstream_path_view", columns) == [
        ("a", 1, None, "_page_view", "A"),
        ("b", 2, None, "_page_view", "B"),
        ("c", 3, "A", None, None),
    ]
    edges = "source = 'A' and target = 'B'"
    assert len(models.rows("clickstream_path_transition_daily", "step", edges)) == 1
    drop(models.sink, "late")
    models.follow()
    same_as_from_nothing(models)


@pytest.mark.heavy
def test_a_run_that_died_between_models_is_made_good(new_models: Callable[[], Models]) -> None:
    models = new_models()
    write(models.sink, BATCHES[0])
    models.run()
    # Events come and go; the next models do not hear of it, or only some of them.
    write(models.sink, BATCHES[1])
    drop(models.sink, "b1")
    models.follow("clickstream_event_base", "clickstream_user_day_base")
    # A model whose parent has not heard of it takes in no more than the parent.
    write(models.sink, BATCHES[2])
    models.follow("clickstream_event_base", "clickstream_path_base")
    models.follow()
    same_as_from_nothing(models)


def test_a_table_or_a_ledger_that_was_lost_is_made_good(new_models: Callable[[], Models]) -> None:
    models = new_models()
    write(models.sink, BATCHES[0])
    models.run()
    models.query(f"drop table {PROJECT}.clickstream_session_base")
    models.query(f"drop table {PROJECT}.clickstream_load_state")
    write(models.sink, BATCHES[1])
    models.follow()
    same_as_from_nothing(models)


def test_a_full_refresh_of_the_events_alone_reaches_the_models_behind_them(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    write(models.sink, [*BATCHES[0], *BATCHES[1]])
    models.run()
    drop(models.sink, "b1")
    models.dbt("run", "--full-refresh", "--select", "clickstream_event_base")
    models.follow()
    same_as_from_nothing(models)


def test_a_new_batch_opens_no_file_of_an_earlier_one(new_models: Callable[[], Models]) -> None:
    models = new_models()
    write(models.sink, [event("a", f"2024-05-0{day} 10:00", f"e{day}") for day in (1, 2, 3)])
    models.run()
    # DuckDB reads the columns from the first file; the others can't be opened any more.
    _, *loaded = Lake(str(models.sink), PROJECT).data_files("ods_event")
    write(models.sink, [event("a", "2024-05-04 10:00", "e4", batch="b2")])
    for file in loaded:
        Path(file).write_bytes(b"not Parquet")
    models.follow()
    assert models.rows("clickstream_path_view", "event_id") == [("e1",), ("e2",), ("e3",), ("e4",)]


def compact(models: Models, monkeypatch: pytest.MonkeyPatch) -> int:
    """Compact every partition with two files or more; give how many files went."""
    monkeypatch.setattr(maintenance, "_QUIET_MS", -DAY)
    return maintain(Lake(str(models.sink), PROJECT), MaintenanceSettings()).compacted_files


@pytest.mark.heavy
def test_compaction_is_no_news_to_the_models(
    new_models: Callable[[], Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = new_models()
    for batch in BATCHES[:2]:
        write(models.sink, batch)
        models.follow()
    models.run()
    before = tables(models)
    for again in (1, 2):
        assert compact(models, monkeypatch) > 0
        files = Lake(str(models.sink), PROJECT).data_files("ods_event")
        models.follow()
        after = tables(models)
        held = {file for file, *_ in after.pop("clickstream_load_file")}
        assert held == set(files)
        assert after == {name: rows for name, rows in before.items() if name in after}, again
        if again == 1:
            write(models.sink, BATCHES[2])
            models.follow()
            before = tables(models)
    same_as_from_nothing(models)


@pytest.mark.heavy
def test_what_is_compacted_before_it_was_loaded_is_loaded(
    new_models: Callable[[], Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = new_models()
    write(models.sink, BATCHES[0])
    models.run()
    # Twice, so that a compacted file has a compacted one among its sources.
    for batch in BATCHES[1:]:
        write(models.sink, batch)
        assert compact(models, monkeypatch) > 0
    models.follow()
    same_as_from_nothing(models)


@pytest.mark.heavy
def test_a_batch_goes_out_of_a_compacted_file(
    new_models: Callable[[], Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = new_models()
    for batch in BATCHES:
        write(models.sink, batch)
    models.run()
    compact(models, monkeypatch)
    models.follow()
    drop(models.sink, "b2")
    models.follow()
    assert models.rows("clickstream_event_base", "count(*)") == [(240,)]
    same_as_from_nothing(models)


@pytest.mark.heavy
def test_a_ledger_of_an_earlier_version_goes_on(new_models: Callable[[], Models]) -> None:
    models = new_models()
    write(models.sink, BATCHES[0])
    models.run()
    models.query(f"alter table {PROJECT}.clickstream_load_file drop column loaded_file")
    drop(models.sink, "b1")
    write(models.sink, BATCHES[1])
    models.follow()
    same_as_from_nothing(models)


@pytest.mark.heavy
def test_a_lake_without_events_gives_empty_views_that_pass_their_tests(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    models.dbt("build", *WITHOUT_UNIT_TESTS)
    assert models.everything() == {view: [] for view in (*VIEWS, *REPORT_VIEWS, *DAILY_REPORTS)}
    write(models.sink, BATCHES[0])
    models.dbt("build", *WITHOUT_UNIT_TESTS)
    assert len(models.rows("clickstream_path_view", "event_id")) == len(BATCHES[0])
