"""The definitions of the ten views, each case in an app of its own, so that one run builds all."""

from collections.abc import Callable
from datetime import date, datetime

import pytest
import yaml

from clickstream_dagster.resources.dbt import dbt_project_dir
from tests.dbt.conftest import Models
from tests.dbt.model_input import PROJECT, event, ms
from tests.views import COLUMNS, VIEWS

SESSION = "app_id, session_id, user_pseudo_id, platform"


def view(time: str, id_: str, page: str | None = None, **fields):
    params = {**({} if page is None else {"_page_title": page}), **fields.pop("params", {})}
    return event("_page_view", time, id_, params=params, **fields)


def engagement(time: str, id_: str, duration: int, **fields):
    params = {"_session_duration": duration, "_engagement_time_msec": duration}
    return event("_user_engagement", time, id_, params=params, **fields)


def starts(app: str, user: str, *days: str):
    return [event("_session_start", f"{d} 12:00", f"{user}{d}", app=app, user=user) for d in days]


EVENTS = [
    # Engaged: more than 10,000 ms, or more than one view.
    engagement("2024-05-01 10:00", "a", 10_000, app="engaged", session="ten seconds"),
    engagement("2024-05-01 10:00", "b", 10_001, app="engaged", session="longer"),
    view("2024-05-01 10:00", "c", app="engaged", session="one view"),
    view("2024-05-01 10:00", "d", app="engaged", session="two views"),
    view("2024-05-01 10:01", "e", app="engaged", session="two views"),
    event("click", "2024-05-01 10:00", "f", app="engaged", session="no view"),
    # Where no event tells the duration, it is the time from the first to the last one.
    event("click", "2024-05-01 10:00", "g", app="engaged", session="ten seconds apart"),
    event("click", "2024-05-01 10:00:10", "h", app="engaged", session="ten seconds apart"),
    event("click", "2024-05-01 10:00", "i", app="engaged", session="longer apart"),
    event("click", "2024-05-01 10:00:10.001", "j", app="engaged", session="longer apart"),
    event("click", "2024-05-01 10:00", "k", app="engaged", session="weeks apart"),
    event("click", "2024-06-01 10:00", "l", app="engaged", session="weeks apart"),
    event("click", "2024-05-01 10:00", "m", app="engaged", session="told to be short"),
    engagement("2024-05-01 10:01", "n", 3_000, app="engaged", session="told to be short"),
    # A session over midnight: on the day of its start, as one.
    event(
        "_session_start",
        "2024-05-01 23:59:59.900",
        "a",
        app="midnight",
        params={"_session_start_timestamp": ms("2024-05-01 23:59:59.800")},
    ),
    view("2024-05-01 23:59:59.950", "b", "Before", app="midnight"),
    view("2024-05-02 00:00:00.010", "c", "After", app="midnight"),
    engagement("2024-05-02 00:00:10", "d", 4_000, app="midnight"),
    engagement("2024-05-02 00:00:20", "e", 14_000, app="midnight"),
    event("click", "2024-05-02 00:00:30", "f", app="midnight", params={"_session_duration": 9}),
    # Engagement time counts on _user_engagement only; nonsense is no value.
    event("click", "2024-05-01 10:00", "a", app="time", params={"_engagement_time_msec": 500}),
    engagement("2024-05-01 10:01", "b", 2**40, app="time"),
    engagement("2024-05-01 10:02", "c", 700, app="time"),
    event("x", "2024-05-01 10:03", "d", app="time", params={"_session_start_timestamp": 2**62}),
    # A start that can't be is none.
    *[
        event("_session_start", "2024-05-01 23:50", session, app="starts", session=session,
              params={"_session_start_timestamp": start})
        for session, start in [
            ("zero", 0),
            ("negative", -1),
            ("seconds", ms("2024-05-01 23:50") // 1000),
            ("1999", ms("2000-01-01 00:00") - 1),
            ("2000", ms("2000-01-01 00:00")),
            ("clock set back", ms("2024-05-02 00:00")),
            ("ahead", ms("2024-05-02 00:00") + 1),
            ("other event", 0),
        ]
    ],
    event("click", "2024-05-02 00:10", "later", app="starts", session="other event",
          params={"_session_start_timestamp": ms("2024-05-01 23:40")}),
    # Equal times: the event id decides.
    view("2024-05-01 10:00", "b", "Second", app="ties"),
    view("2024-05-01 10:00", "a", "First", app="ties"),
    event("_screen_view", "2024-05-01 10:00", "c", app="ties", params={"_screen_name": "Third"}),
    # A view with both keys counts once, with the name that belongs to it.
    view("2024-05-01 10:00", "a", "Title", app="both", params={"_screen_name": "Screen"}),
    event("click", "2024-05-01 10:01", "b", app="both", params={"_screen_name": "Screen"}),
    # No session id.
    view("2024-05-01 10:00", "a", "Home", app="idless", session=None),
    view("2024-05-01 10:20", "b", "Cart", app="idless", session=""),
    view("2024-05-01 10:50:00.001", "c", "Pay", app="idless", session=None),
    view("2024-05-01 11:20:00.001", "d", "Paid", app="idless", session=None),
    view("2024-05-01 10:00", "i", "Phone", app="idless", session=None, platform="iOS"),
    view("2024-05-03 11:00", "x", "Help", app="idless", session=None, user=None),
    view("2024-05-03 18:00", "y", "Help", app="idless", session=None, user=None),
    # Users: earliest first event, else the first event.
    event("click", "2024-05-01 09:00", "a", app="users", user="early click"),
    event(
        "_first_visit",
        "2024-05-02 10:00",
        "b",
        app="users",
        user="early click",
        user_id="7",
        platform="Web",
        device={"system_language": "de"},
        geo={"country": "Germany", "city": "Bonn"},
        traffic_source={"source": "", "medium": "cpc", "name": "spring"},
    ),
    event("_first_open", "2024-05-03 10:00", "c", app="users", user="twice", platform="iOS"),
    event(
        "_first_open",
        "2024-05-02 10:00",
        "d",
        app="users",
        user="twice",
        platform="Android",
        app_info={"install_source": "store"},
        traffic_source={"source": "google"},
    ),
    event("b", "2024-05-02 11:00", "f", app="users", user="none", platform="Web"),
    event("a", "2024-05-02 11:00", "e", app="users", user="none", platform="Android"),
    event("login", "2024-05-04 11:00", "g", app="users", user="none", user_id="9"),
    event("click", "2024-05-04 11:00", "h", app="users", user=None, user_id="9"),
    event("click", "2024-05-04 11:00", "i", app="users", user="empty id", user_id=""),
    # The same user and the same event id in two apps.
    event("_first_open", "2024-05-01 10:00", "same", app="twin1", user="u", user_id="1"),
    event("_first_open", "2024-05-03 10:00", "same", app="twin2", user="u"),
    event("login", "2024-05-04 10:00", "other", app="twin2", user="u", user_id="2"),
    # Retention, to day 42 and no further.
    *starts("kept", "u1", "2024-01-01", "2024-01-02", "2024-02-12", "2024-02-13"),
    *starts("kept", "u2", "2024-01-01"),
    *starts("kept", "u3", "2024-01-02"),
    event("click", "2024-01-02 15:00", "again", app="kept", user="u1"),
    # Stages of users.
    *starts("stages", "u1", "2024-05-01", "2024-05-02", "2024-05-05"),
    *starts("stages", "u2", "2024-05-02"),
    event("click", "2024-05-03 10:00", "no start", app="stages", user="u1"),
    # ISO weeks over the new year: 30 December 2024 is in the first week of 2025.
    *starts("weeks", "u1", "2024-12-29", "2024-12-30", "2025-01-05", "2025-01-06", "2025-01-20"),
    # Attributes: the value that was set last, as text.
    event("a", "2024-05-01 10:00", "a", app="attributes", user_id="1",
          attributes={
              "plan": {"string_value": "old", "set_timestamp_micros": 1},
              "age": {"int_value": 5, "set_timestamp_micros": 9},
              "tie": {"string_value": "a", "set_timestamp_micros": 3},
          }),
    event("a", "2024-05-02 10:00", "b", app="attributes",
          attributes={
              "plan": {"string_value": "new", "set_timestamp_micros": 2},
              "age": {"int_value": 6, "set_timestamp_micros": 8},
              "score": {"double_value": 0.5},
              "tie": {"string_value": "b", "set_timestamp_micros": 3},
          }),
    event("a", "2024-05-02 10:00", "c", app="attributes",
          attributes={"score": {"double_value": 0.25}}),
    # Clocks that are years ahead: nothing was set later than it arrived.
    event("a", "2099-05-01 10:00", "z", app="clocks", ingest_timestamp=ms("2024-05-02 10:00"),
          attributes={
              "stamped": {"string_value": "wrong", "set_timestamp_micros": ms("2099-05-01") * 1000},
              "bare": {"string_value": "wrong"},
          }),
    event("a", "2024-05-03 10:00", "b", app="clocks", user_id="1",
          attributes={
              "stamped": {"string_value": "right", "set_timestamp_micros": ms("2024-05-03") * 1000},
              "bare": {"string_value": "right"},
              "mixed": {"string_value": "unstamped"},
              "day": {"string_value": "wrong", "set_timestamp_micros": ms("2099-05-03") * 1000},
          }),
    event("a", "2024-05-03 11:00", "a", app="clocks",
          attributes={
              "mixed": {"string_value": "sooner", "set_timestamp_micros": ms("2024-05-02") * 1000},
              "day": {"string_value": "right",
                      "set_timestamp_micros": ms("2024-05-03 11:00") * 1000},
          }),
    event("a", "2099-05-03 10:00", "c", app="clocks", user_id="old",
          ingest_timestamp=ms("2024-05-02 10:00")),
    event("a", "2024-05-03 12:00", "d", app="clocks", user_id="ahead", user="u2",
          ingest_timestamp=ms("2024-05-03 10:00")),
    event("a", "2024-05-03 11:00", "e", app="clocks", user_id="known", user="u2",
          attributes={"plan": "x"}),
    # Parameters of every type.
    event("typed", "2024-05-01 10:00", "a", app="types", session=None,
          params=[
              ("string", "007"), ("int", 7), ("big", 2**60), ("double", 0.1), ("whole", 1.0),
              ("float", {"float_value": 1.5}), ("null", None),
              ("empty", {"string_value": "", "int_value": 3}), ("zero", 0),
          ]),
    # Devices.
    *[
        event("click", f"2024-05-0{day} 10:00", id_, app="devices",
              device={"vendor_id": "v", "screen_width": width, "ua_os": "Linux",
                      "advertising_id": "ad", "time_zone_offset_seconds": 3600})
        for id_, day, width in [("a", 1, 10), ("b", 1, 10), ("c", 1, 20), ("d", 2, 10)]
    ],
    event("click", "2024-05-01 10:00", "e", app="devices", user=None, user_id=""),
    event("click", "2024-05-01 10:00", "f", app="devices", user=None),
]  # fmt: skip


@pytest.fixture(scope="module")
def models(build: Callable[..., Models]) -> Models:
    return build(EVENTS)


def sessions(models: Models, app: str, columns: str) -> list[tuple]:
    return models.rows("clickstream_session_view", columns, f"app_id = '{app}'")


def test_a_session_is_engaged_beyond_ten_seconds_or_one_view(models: Models) -> None:
    columns = "session_id, session_duration, session_views, engaged_session, bounced_session"
    assert sessions(models, "engaged", columns) == [
        ("longer", 10_001, 0, 1, 0),
        ("longer apart", 10_001, 0, 1, 0),
        ("no view", 0, 0, 0, 1),
        ("one view", 0, 1, 0, 1),
        ("ten seconds", 10_000, 0, 0, 1),
        ("ten seconds apart", 10_000, 0, 0, 1),
        ("told to be short", 3_000, 0, 0, 1),
        ("two views", 60_000, 2, 1, 0),
        ("weeks apart", None, 0, 0, 1),  # more ms than 32 bits hold
    ]


def test_a_start_that_can_not_be_is_none(models: Models) -> None:
    columns = "session_id, session_start_timestamp, session_date"
    event_time = ms("2024-05-01 23:50")
    day = datetime(2024, 5, 1)
    assert sessions(models, "starts", columns) == [
        ("1999", event_time, day),
        ("2000", ms("2000-01-01 00:00"), datetime(2000, 1, 1)),
        ("ahead", event_time, day),
        ("clock set back", ms("2024-05-02 00:00"), datetime(2024, 5, 2)),
        ("negative", event_time, day),
        ("other event", ms("2024-05-01 23:40"), day),
        ("seconds", event_time, day),
        ("zero", event_time, day),
    ]


def test_a_session_over_midnight_is_one_on_the_day_it_started(models: Models) -> None:
    columns = (
        "session_id, session_duration, session_views, session_start_timestamp,"
        " session_engagement_time, session_date, session_date_hour, entry_view, exit_view"
    )
    assert sessions(models, "midnight", columns) == [
        (
            "s1",
            14_000,
            2,
            ms("2024-05-01 23:59:59.800"),
            18_000,
            datetime(2024, 5, 1),
            datetime(2024, 5, 1, 23),
            "Before",
            "After",
        )
    ]


def test_engagement_time_counts_engagement_events_and_no_nonsense(models: Models) -> None:
    columns = "session_duration, session_engagement_time, session_start_timestamp, session_date"
    start = ms("2024-05-01 10:00")
    assert sessions(models, "time", columns) == [(700, 700, start, datetime(2024, 5, 1))]


def test_equal_times_are_ordered_by_event_id(models: Models) -> None:
    assert sessions(models, "ties", "entry_view, exit_view") == [("First", "Third")]
    assert models.rows(
        "clickstream_path_view",
        "event_rank, event_id, previous_event, next_event, previous_screen, next_screen",
        "app_id = 'ties'",
    ) == [
        (1, "a", None, "_page_view", None, "Second"),
        (2, "b", "_page_view", "_screen_view", "First", "Third"),
        (3, "c", "_page_view", None, "Second", None),
    ]


def test_an_event_with_screen_name_and_page_title_is_one_view(models: Models) -> None:
    columns = "session_views, entry_view, exit_view"
    assert sessions(models, "both", columns) == [(1, "Title", "Title")]
    path = models.rows("clickstream_path_view", "event_id, current_screen", "app_id = 'both'")
    assert path == [("a", "Title"), ("b", None)]


def test_events_without_session_id_are_in_sessions_that_end_after_half_an_hour(
    models: Models,
) -> None:
    columns = "session_id, user_pseudo_id, platform, session_views, session_duration, exit_view"
    first, second = ms("2024-05-01 10:00"), ms("2024-05-01 10:50:00.001")
    assert sessions(models, "idless", columns) == [
        ("#2024-05-03", None, "Web", 2, 7 * 3_600_000, "Help"),
        (f"#u1-{first}", "u1", "Web", 2, 20 * 60_000, "Cart"),
        (f"#u1-{first}", "u1", "iOS", 1, 0, "Phone"),
        (f"#u1-{second}", "u1", "Web", 2, 30 * 60_000, "Paid"),
    ]


def test_the_path_of_events_without_session_id_follows_their_session(models: Models) -> None:
    columns = "event_id, session_id, event_rank, next_screen"
    where = "app_id = 'idless' and platform = 'Web' and user_pseudo_id is not null"
    first, second = f"#u1-{ms('2024-05-01 10:00')}", f"#u1-{ms('2024-05-01 10:50:00.001')}"
    assert models.rows("clickstream_path_view", columns, where) == [
        ("a", first, 1, "Phone"),
        ("b", first, 3, None),
        ("c", second, 1, "Paid"),
        ("d", second, 2, None),
    ]


def test_a_user_is_described_by_the_earliest_first_event_else_the_first_event(
    models: Models,
) -> None:
    columns = (
        "user_pseudo_id, user_id, first_visit_date, first_visit_install_source, first_platform,"
        " first_traffic_source_source"
    )
    assert models.rows("clickstream_user_dim_view", columns, "app_id = 'users'") == [
        ("early click", "7", date(2024, 5, 2), None, "Web", "(direct)"),
        ("empty id", "", date(2024, 5, 4), None, "Web", "(direct)"),
        ("none", None, date(2024, 5, 2), None, "Android", "(direct)"),
        ("twice", None, date(2024, 5, 2), "store", "Android", "google"),
    ]
    columns = (
        "first_visit_device_language, first_visit_country, first_visit_city,"
        " first_traffic_source_medium, first_traffic_source_name"
    )
    early = "app_id = 'users' and user_pseudo_id = 'early click'"
    assert models.rows("clickstream_user_dim_view", columns, early) == [
        ("de", "Germany", "Bonn", "cpc", "spring")
    ]


def test_a_user_is_registered_by_a_user_id_on_any_event_but_the_first_ones(
    models: Models,
) -> None:
    rows = models.rows(
        "clickstream_user_dim_view", "app_id, user_pseudo_id, is_registered", "app_id = 'users'"
    )
    assert [(user, state) for _, user, state in rows] == [
        ("early click", "Non-registered"),
        ("empty id", "Non-registered"),
        ("none", "Registered"),
        ("twice", "Non-registered"),
    ]


def test_the_same_ids_in_two_apps_are_two_users_and_two_events(models: Models) -> None:
    where = "app_id like 'twin%'"
    assert models.rows(
        "clickstream_user_dim_view", "app_id, user_id, first_visit_date, is_registered", where
    ) == [
        ("twin1", "1", date(2024, 5, 1), "Non-registered"),
        ("twin2", None, date(2024, 5, 3), "Registered"),
    ]
    assert models.rows(
        "clickstream_path_view", "app_id, event_id, event_rank, next_event", where
    ) == [
        ("twin1", "same", 1, None),
        ("twin2", "other", 2, None),
        ("twin2", "same", 1, "login"),
    ]
    assert models.rows("clickstream_session_view", SESSION, where) == [
        ("twin1", "s1", "u", "Web"),
        ("twin2", "s1", "u", "Web"),
    ]


def test_retention_goes_from_day_0_to_day_42(models: Models) -> None:
    assert models.rows("clickstream_retention_view", "*", "app_id = 'kept'") == [
        ("kept", date(2024, 1, 1), 0, 2, 2),
        ("kept", date(2024, 1, 1), 1, 1, 2),
        ("kept", date(2024, 1, 1), 42, 1, 2),
        ("kept", date(2024, 1, 2), 0, 1, 1),
    ]


def test_daily_stages_of_users(models: Models) -> None:
    assert models.rows("clickstream_lifecycle_daily_view", "*", "app_id = 'stages'") == [
        ("stages", date(2024, 5, 1), "1-NEW", 1),
        ("stages", date(2024, 5, 2), "1-NEW", 1),
        ("stages", date(2024, 5, 2), "2-ACTIVE", 1),
        ("stages", date(2024, 5, 3), "0-CHURN", -2),
        ("stages", date(2024, 5, 5), "3-RETURN", 1),
        ("stages", date(2024, 5, 6), "0-CHURN", -1),
    ]


def test_weekly_stages_follow_iso_weeks_over_the_new_year(models: Models) -> None:
    assert models.rows("clickstream_lifecycle_weekly_view", "*", "app_id = 'weeks'") == [
        ("weeks", date(2024, 12, 23), "1-NEW", 1),
        ("weeks", date(2024, 12, 30), "2-ACTIVE", 1),
        ("weeks", date(2025, 1, 6), "2-ACTIVE", 1),
        ("weeks", date(2025, 1, 13), "0-CHURN", -1),
        ("weeks", date(2025, 1, 20), "3-RETURN", 1),
        ("weeks", date(2025, 1, 27), "0-CHURN", -1),
    ]


def test_a_clock_that_is_ahead_does_not_keep_an_attribute_for_ever(models: Models) -> None:
    columns = "custom_attr_key, custom_attr_value"
    assert models.rows("clickstream_user_attr_view", columns, "app_id = 'clocks'") == [
        ("bare", "right"),
        ("day", "right"),
        ("mixed", "unstamped"),  # set when its event happened
        ("plan", "x"),
        ("stamped", "right"),
    ]


def test_a_clock_that_is_ahead_does_not_keep_a_user_id_for_ever(models: Models) -> None:
    columns = "distinct user_pseudo_id, user_id"
    assert models.rows("clickstream_user_attr_view", columns, "app_id = 'clocks'") == [
        ("u1", "1"),
        ("u2", "known"),
    ]


def test_an_attribute_has_the_value_that_was_set_last(models: Models) -> None:
    assert models.rows("clickstream_user_attr_view", "*", "app_id = 'attributes'") == [
        ("attributes", "u1", "1", "age", "5"),
        ("attributes", "u1", "1", "plan", "new"),
        ("attributes", "u1", "1", "score", "0.25"),
        ("attributes", "u1", "1", "tie", "b"),
    ]


def test_parameters_print_as_text_by_their_type(models: Models) -> None:
    rows = models.rows(
        "clickstream_ods_event_attr_view",
        "event_parameter_key, event_parameter_value",
        "app_id = 'types'",
    )
    assert dict(rows) == {
        "string": "007",
        "int": "7",
        "big": str(2**60),
        "double": "0.1",
        "whole": "1.0",
        "float": "1.5",
        "null": None,
        "empty": "3",
        "zero": "0",
    }


def test_devices_are_counted_by_day_user_and_every_field(models: Models) -> None:
    columns = (
        "device_id, event_date, screen_width, ua_os, time_zone_offset_seconds, advertising_id,"
        " user_pseudo_id, usage_num"
    )
    assert models.rows("clickstream_device_view", columns, "app_id = 'devices'") == [
        ("v", date(2024, 5, 1), 10, "Linux", 3600, "ad", "u1", 2),
        ("v", date(2024, 5, 1), 20, "Linux", 3600, "ad", "u1", 1),
        ("v", date(2024, 5, 2), 10, "Linux", 3600, "ad", "u1", 1),
        (None, date(2024, 5, 1), None, None, None, None, None, 2),
    ]


def test_the_event_view_has_every_event_once(models: Models) -> None:
    rows = models.rows("clickstream_ods_event_view", "app_id, event_date, event_id")
    assert rows == sorted((e["app_id"], e["event_date"], e["event_id"]) for e in EVENTS)


@pytest.mark.parametrize("name", VIEWS)
def test_columns_are_the_app_and_then_the_seed_columns_in_order(models: Models, name: str) -> None:
    columns = models.query(
        "select column_name, table_type from information_schema.columns"
        " join information_schema.tables using (table_schema, table_name)"
        f" where table_schema = '{PROJECT}' and table_name = '{name}' order by ordinal_position"
    )
    expected = ["app_id", *COLUMNS[name].replace("\n", " ").split(",")]
    assert columns == [(column.strip(), "VIEW") for column in expected]


@pytest.mark.parametrize(
    ("name", "column", "type_"),
    [
        ("clickstream_session_view", "session_date", "TIMESTAMP"),
        ("clickstream_session_view", "session_date_hour", "TIMESTAMP"),
        ("clickstream_session_view", "session_engagement_time", "BIGINT"),
        ("clickstream_lifecycle_daily_view", "time_period", "DATE"),
        ("clickstream_lifecycle_weekly_view", "time_period", "DATE"),
        ("clickstream_lifecycle_weekly_view", "sum", "BIGINT"),
        ("clickstream_retention_view", "first_date", "DATE"),
        ("clickstream_device_view", "event_date", "DATE"),
    ],
)
def test_types_of_the_views(models: Models, name: str, column: str, type_: str) -> None:
    assert models.query(f"select distinct typeof({column}) from {name}") == [(type_,)]


def test_every_model_and_every_column_is_documented(models: Models) -> None:
    folder = dbt_project_dir() / "models"
    told = {
        model["name"]: {
            "": model.get("description", ""),
            **{column["name"]: column.get("description", "") for column in model["columns"]},
        }
        for file in folder.rglob("*.yml")
        for model in yaml.safe_load(file.read_text()).get("models", ())
    }
    built = {
        file.stem: {row[0] for row in models.query(f"describe {file.stem}")}
        for file in folder.rglob("*.sql")
    }
    assert built.keys() == told.keys()
    for name, columns in built.items():
        assert columns == told[name].keys() - {""}, name
        assert all(text.strip() for text in told[name].values()), name
