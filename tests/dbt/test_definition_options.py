"""Definitions that a project chooses: what they change, and that a change is never mixed in."""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.definitions import Definitions, read_definitions
from tests.dbt.conftest import Models
from tests.dbt.model_input import PROJECT, event, write

OTHER = Definitions(
    session_idle_minutes=10,
    engaged_session_ms=5_000,
    engaged_session_views=2,
    retention_days=1,
    week_start="sunday",
    time_zone="Europe/Berlin",
    view_events={"look": "what"},
    first_touch_events=("hello",),
    purchase_events=("buy", "rent"),
)

EDGES = [  # first and last ms of the day in Berlin before, on and after the clocks change
    ("2024-03-30 22:59:59.999", date(2024, 3, 30)),
    ("2024-03-30 23:00", date(2024, 3, 31)),
    ("2024-03-31 21:59:59.999", date(2024, 3, 31)),  # 23 hours
    ("2024-03-31 22:00", date(2024, 4, 1)),
    ("2024-10-26 21:59:59.999", date(2024, 10, 26)),
    ("2024-10-26 22:00", date(2024, 10, 27)),
    ("2024-10-27 22:59:59.999", date(2024, 10, 27)),  # 25 hours
    ("2024-10-27 23:00", date(2024, 10, 28)),
]


def start(time: str, user: str, app: str, **fields):
    return event("_session_start", time, f"{user}{time}", app=app, user=user, **fields)


EVENTS = [
    *[start(time, "u1", "edges", session=time) for time, _ in EDGES],
    # 22:30 UTC is the next day in Berlin.
    start("2024-05-04 22:30", "u1", "kept"),
    start("2024-05-05 23:30", "u1", "kept"),
    start("2024-05-07 10:00", "u1", "kept"),
    # Sunday is the last day of the ISO week, and the first one of the other.
    start("2024-05-05 10:00", "u1", "weeks"),
    start("2024-05-06 10:00", "u1", "weeks"),
    event("look", "2024-05-01 10:00", "a", app="views", session=None, params={"what": "Shoe"}),
    event("_page_view", "2024-05-01 10:09", "b", app="views", session=None),
    event("look", "2024-05-01 10:20", "c", app="views", session=None, params={"what": "Hat"}),
    event("x", "2024-05-01 10:00", "d", app="engaged", params={"_session_duration": 5_001}),
    event("_first_visit", "2024-05-01 10:00", "e", app="users", user_id="7"),
    event("hello", "2024-05-02 10:00", "f", app="users", user_id="8"),
    event("buy", "2024-05-02 10:00", "g", app="users", event_value_in_usd=2.5),
    event("rent", "2024-05-02 11:00", "h", app="users", event_value_in_usd=1.0),
    event("purchase", "2024-05-02 11:00", "i", app="users", event_value_in_usd=9.0),
]


@pytest.fixture(scope="module")
def models(new_models: Callable[[], Models]) -> Models:
    """Built by the defaults, then brought up to date with other definitions and a late event."""
    models = new_models()
    write(models.sink, EVENTS[1:])
    models.run()
    models.definitions = OTHER
    write(models.sink, EVENTS[:1])
    models.run()
    return models


@pytest.mark.heavy
def test_days_are_those_of_the_clocks_of_the_time_zone(models: Models) -> None:
    columns = "session_id, session_date, session_date_hour"
    rows = models.rows("clickstream_session_view", columns, "app_id = 'edges'")
    assert [(key, day.date()) for key, day, _ in rows] == EDGES
    hours = {key: hour for key, _, hour in rows}
    assert hours["2024-03-31 21:59:59.999"] == datetime(2024, 3, 31, 23)
    assert hours["2024-10-26 22:00"] == datetime(2024, 10, 27)
    active = models.rows("clickstream_user_day_base", "report_date", "app_id = 'edges'")
    assert [day for (day,) in active] == sorted({day for _, day in EDGES})


def test_event_date_stays_the_day_in_utc(models: Models) -> None:
    rows = models.rows("clickstream_ods_event_view", "event_date", "app_id = 'edges'")
    assert [day.isoformat() for (day,) in rows] == [time[:10] for time, _ in EDGES]


def test_devices_are_counted_by_days_of_the_time_zone_too(models: Models) -> None:
    columns = "event_date, report_date, usage_num"
    rows = models.rows("clickstream_device_usage", columns, "app_id = 'edges'")
    assert rows == [(date.fromisoformat(time[:10]), day, 1) for time, day in EDGES]
    view = models.rows("clickstream_device_view", "event_date, usage_num", "app_id = 'edges'")
    utc = [day for day, _, _ in rows]
    assert view == [(day, utc.count(day)) for day in sorted({*utc})]
    assert max(uses for _, uses in view) == 2


def test_retention_counts_days_of_the_time_zone_to_the_horizon(models: Models) -> None:
    assert models.rows("clickstream_retention_view", "*", "app_id = 'kept'") == [
        ("kept", date(2024, 5, 5), 0, 1, 1),
        ("kept", date(2024, 5, 5), 1, 1, 1),
    ]


def test_weeks_begin_on_the_day_that_is_chosen(models: Models) -> None:
    rows = models.rows("clickstream_lifecycle_weekly_view", "*", "app_id = 'weeks'")
    assert rows == [
        ("weeks", date(2024, 5, 5), "1-NEW", 1),
        ("weeks", date(2024, 5, 12), "0-CHURN", -1),
    ]


def test_views_idle_time_and_engagement_are_those_that_are_chosen(models: Models) -> None:
    columns = "session_views, session_duration, engaged_session, entry_view"
    rows = models.rows("clickstream_session_view", columns, "app_id = 'views'")
    assert rows == [(1, 0, 0, "Hat"), (1, 540_000, 1, "Shoe")]
    rows = models.rows("clickstream_session_view", columns, "app_id = 'engaged'")
    assert rows == [(0, 5_001, 1, None)]


def test_first_touch_and_purchases_are_those_that_are_chosen(models: Models) -> None:
    columns = "user_id, first_visit_date, is_registered"
    rows = models.rows("clickstream_user_dim_view", columns, "app_id = 'users'")
    assert rows == [("8", date(2024, 5, 2), "Registered")]
    columns = "report_date, purchase_count, purchase_value_in_usd"
    rows = models.rows("clickstream_user_day_base", columns, "app_id = 'users'")
    assert rows == [(date(2024, 5, 1), 0, 0.0), (date(2024, 5, 2), 2, 3.5)]


@pytest.mark.heavy
def test_a_change_ends_in_what_is_built_from_nothing_and_back_again(models: Models) -> None:
    changed = models.everything()
    models.dbt("run", "--full-refresh", "--select", "tag:base")
    assert models.everything() == changed
    models.definitions = Definitions()
    models.run()
    back = models.everything()
    assert back != changed
    models.dbt("run", "--full-refresh", "--select", "tag:base")
    assert models.everything() == back
    before = models.rows("clickstream_load_state", "*")
    models.follow()
    assert models.rows("clickstream_load_state", "*") == before


@pytest.mark.heavy
def test_a_warehouse_of_an_earlier_version_is_made_anew(new_models: Callable[[], Models]) -> None:
    models = new_models()
    write(models.sink, EVENTS)
    models.run()
    expected = models.everything()
    for change in [
        "clickstream_event_base drop column report_date",
        "clickstream_user_day_base rename column report_date to event_date",
        "clickstream_load_removal drop column report_date",
        "clickstream_load_state drop column definitions",
    ]:
        models.query(f"alter table {PROJECT}.{change}")
    models.run()
    assert models.everything() == expected


def test_a_table_of_an_earlier_form_is_made_anew_and_no_other(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    write(models.sink, EVENTS)
    models.run()
    expected = models.everything()
    write(models.sink, [event("late", "2024-05-03 10:00", "late", app="late")])
    models.query(f"alter table {PROJECT}.clickstream_path_base drop column next_view")
    models.query(
        f"update {PROJECT}.clickstream_load_state"
        " set definitions = '1' || definitions where model = 'clickstream_path_base'"
    )
    models.run()
    loads = "count(distinct load_id)"
    assert models.rows("clickstream_path_base", loads) == [(1,)]
    assert models.rows("clickstream_event_base", loads) == [(2,)]
    assert models.rows("clickstream_session_base", loads) == [(2,)]
    table = "clickstream_path_transition_daily"
    assert models.rows(table, "* exclude (load_id)", "app_id <> 'late'") == expected[table]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("session_idle_minutes: 1441", "session_idle_minutes 1441: write a whole number from 1 to"),
        ("session_idle_minutes: '30'", "session_idle_minutes '30' in"),
        ("week_start: Montag", "week_start 'Montag': write one of monday, tuesday"),
        ("time_zone: Berlin", "time_zone 'Berlin' is not in the IANA database"),
        ("time_zone: ../etc/passwd", "is not in the IANA database"),
        ("time_zone: localtime", "'localtime' is not in the IANA database"),
        ("time_zone: right/UTC", "'right/UTC' is not in the IANA database"),
        ("view_events: {x'y: z}", 'view_events has the name "x\'y": write 1 to 50 letters'),
        ("purchase_events: buy", "purchase_events 'buy' in"),
        ("first_touch_events: ['{{ x }}']", "first_touch_events has the name '{{ x }}'"),
        ("idle: 3", "has 'idle', which is no definition: write session_idle_minutes"),
        ("[1]", "hold no keys"),
        ("a: b: c", "can't be read"),
    ],
)
def test_what_is_no_definition_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "definitions.yaml"
    file.write_text(text)
    with pytest.raises(SettingError) as error:
        read_definitions(file)
    assert message in str(error.value)


def test_the_defaults_of_dbt_are_the_defaults_of_a_project() -> None:
    import yaml

    from clickstream_dagster.resources.dbt import dbt_project_dir

    project = yaml.safe_load((dbt_project_dir() / "dbt_project.yml").read_text())
    definitions = Definitions().vars()
    assert {key: project["vars"][key] for key in definitions} == definitions
