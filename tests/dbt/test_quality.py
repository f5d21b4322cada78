"""Tests of the models: what they find, what they leave alone, and the unit tests."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from clickstream_dagster.resources.dbt import ModelError
from tests.dbt.conftest import Models
from tests.dbt.model_input import PROJECT, event, ms, write
from tests.views import DAILY_REPORTS


@pytest.fixture(scope="module")
def models(new_models: Callable[[], Models]) -> Models:
    """Two loads: one of 1 May, one of 2 May with a session of its own."""
    models = new_models()
    for day in (1, 2):
        events = [
            event("_session_start", f"2024-05-0{day} 10:00", f"a{day}", session=f"s{day}"),
            event("_page_view", f"2024-05-0{day} 10:01", f"b{day}", session=f"s{day}"),
        ]
        write(models.sink, events)
        models.run()
    return models


DAMAGES = [
    ("insert into {t} select * from {t} where {day}", "clickstream_event_base", "unique"),
    ("update {t} set event_count = 7 where {day}", "clickstream_user_day_base", "every_event"),
    ("update {t} set event_count = 7 where {day}", "clickstream_session_base", "events_of_sess"),
    ("update {t} set user_pseudo_id = 'x' where {day}", "clickstream_session_base", "relation"),
]
# In the heavy tests.
MORE_DAMAGES = [
    ("update {t} set event_count = 7 where {day}", "clickstream_activity_daily", "every_event"),
    ("update {t} set dau_mau = 1.5 where {day}", "clickstream_active_users_daily", "range"),
    ("update {t} set session_count = 7 where {day}", "clickstream_engagement_daily", "sessions_of"),
    ("update {t} set event_rank = 7 where {day}", "clickstream_path_base", "paths_count"),
    ("update {t} set app_id = 'other' where {day}", "clickstream_session_base", "relation"),
    ("update {t} set event_name = null where {day}", "clickstream_event_base", "not_null"),
]

# What is compared over the whole history only.
DAMAGES_OF_THE_WHOLE = [
    (
        "update {t} set returned_user_count = 7 where day_diff = 0 and {day}",
        "clickstream_retention_daily",
        "retention_starts_with_the_whole_cohort",
    ),
    (
        "insert into {t} select * from {t} where {day}",
        "clickstream_user_day_base",
        "users_by_stage_are_the_active_users",
    ),
    ("delete from {t}", "clickstream_user_base", "every_user_has_days"),
]


def damaged(models: Models, statement: str, table: str, day: str, *, everything: bool) -> str:
    """What the tests say of a table that a statement has damaged; the damage is undone."""
    models.query(f"create table {PROJECT}.kept as select * from {PROJECT}.{table}")
    column = "event_date" if table == "clickstream_event_base" else "report_date"
    where = f"{column} = date '{day}'"
    models.query(statement.format(t=f"{PROJECT}.{table}", day=where))
    models.check_everything = everything
    try:
        models.dbt("test", "--exclude-resource-type", "unit_test")
    except ModelError as error:
        return str(error)
    finally:
        models.check_everything = False
        models.query(f"delete from {PROJECT}.{table}")
        models.query(f"insert into {PROJECT}.{table} select * from {PROJECT}.kept")
        models.query(f"drop table {PROJECT}.kept")
    return ""


@pytest.mark.parametrize(
    ("statement", "table", "test"),
    [*DAMAGES, *(pytest.param(*damage, marks=pytest.mark.heavy) for damage in MORE_DAMAGES)],
)
def test_damage_on_the_days_of_the_last_load_is_found(
    models: Models, statement: str, table: str, test: str
) -> None:
    assert test in damaged(models, statement, table, "2024-05-02", everything=False)


@pytest.mark.heavy
def test_older_days_are_looked_at_when_everything_is(models: Models) -> None:
    statement = "update {t} set event_count = 7 where {day}"
    for table in ("clickstream_activity_daily", "clickstream_user_day_base"):
        assert damaged(models, statement, table, "2024-05-01", everything=False) == ""
        found = damaged(models, statement, table, "2024-05-01", everything=True)
        assert "every_event_is_in_each_base_model" in found


@pytest.mark.heavy
@pytest.mark.parametrize(("statement", "table", "test"), DAMAGES_OF_THE_WHOLE)
def test_sums_that_need_the_whole_history_are_compared_when_everything_is(
    models: Models, statement: str, table: str, test: str
) -> None:
    assert test not in damaged(models, statement, table, "2024-05-01", everything=False)
    assert test in damaged(models, statement, table, "2024-05-01", everything=True)


def test_everything_passes_on_sound_tables(models: Models) -> None:
    assert damaged(models, "select {day} from {t}", "clickstream_activity_daily", "2024-05-01",
                   everything=True) == ""  # fmt: skip
    assert models.rows(DAILY_REPORTS[0], "count(*)") == [(2,)]


def test_unit_tests_of_definitions_pass(models: Models) -> None:
    models.dbt("test", "--select", "test_type:unit")


def test_freshness_is_by_the_arrival_of_the_newest_event(new_models: Callable[[], Models]) -> None:
    models = new_models()
    old = datetime.now(UTC) - timedelta(days=4)
    time = ms(old.strftime("%Y-%m-%d %H:%M"))
    write(models.sink, [event("a", time, "old")])
    with pytest.raises(ModelError, match="ods_event"):
        models.dbt("source", "freshness")
    write(models.sink, [event("a", time, "new", ingest_timestamp=time + 4 * 86_400_000)])
    models.dbt("source", "freshness")
