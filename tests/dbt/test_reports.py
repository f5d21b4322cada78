"""The reports' metrics on small input, computed by hand."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from clickstream_dagster.resources.definitions import Definitions
from tests.dbt.conftest import Models
from tests.dbt.model_input import drop, event, write


def day(number: int) -> date:
    return date(2024, 5, number)


def at(number: int, user: str, name: str = "click", time: str = "10:00", **fields):
    id_ = f"{user}{number}{name}{time}"
    return event(name, f"2024-05-{number:02} {time}", id_, user=user, **fields)


EVENTS = [
    # Users by day: u1 on 1, 2 and 8 May, u2 on 1 May, u3 on 8 and 30 May, u4 on 31 May.
    at(1, "u1", app="active"),
    at(2, "u1", app="active", name="_page_view"),
    at(8, "u1", app="active", name="purchase", event_value_in_usd=3.0),
    at(8, "u1", app="active", name="purchase", time="11:00", event_value_in_usd=4.5),
    at(1, "u2", app="active"),
    at(8, "u3", app="active"),
    at(30, "u3", app="active"),
    at(31, "u4", app="active"),
    # Sessions of one day: two of u1, one of them engaged, and one each of u1 and u2 on iOS.
    at(1, "u1", app="engaged", session="a", name="_page_view", params={"_page_title": "A"}),
    at(1, "u1", app="engaged", session="a", name="_page_view", time="10:05"),
    at(1, "u1", app="engaged", session="b"),
    at(1, "u2", app="engaged", session="c", platform="iOS"),
    at(1, "u1", app="engaged", session="d", time="12:00", platform="iOS"),
    at(
        1,
        "u1",
        app="engaged",
        session="a",
        name="_user_engagement",
        time="10:06",
        params={"_engagement_time_msec": 9_000},
    ),
    # Paths: Home, Cart, a click, Cart again; Pay after midnight, then a page without a name.
    at(1, "u1", app="paths", name="_page_view", params={"_page_title": "Home"}),
    at(1, "u1", app="paths", name="_page_view", time="10:01", params={"_page_title": "Cart"}),
    at(1, "u1", app="paths", time="10:02"),
    at(1, "u1", app="paths", name="_page_view", time="10:03", params={"_page_title": "Cart"}),
    at(2, "u1", app="paths", name="_page_view", time="00:01", params={"_page_title": "Pay"}),
    at(2, "u1", app="paths", name="_page_view", time="00:02"),
    at(2, "u1", app="paths", name="_page_view", time="00:03", params={"_page_title": "Home"}),
    # Users with and without attributes.
    at(
        1,
        "u1",
        app="gained",
        name="_first_open",
        attributes={"plan": "free", "city": "Bonn"},
        app_info={"install_source": "store"},
        traffic_source={"source": "news"},
        geo={"country": "Germany"},
    ),
    at(1, "u2", app="gained", user_id="7"),
    at(2, "u1", app="gained", user_id="8"),
    # Devices.
    at(1, "u1", app="devices", device={"screen_height": 900, "screen_width": 400}),
]


@pytest.fixture(scope="module")
def models(new_models: Callable[[], Models]) -> Models:
    """Built of all but some events, which come late."""
    models = new_models()
    write(models.sink, EVENTS[1:])
    models.run()
    write(models.sink, EVENTS[:1])
    models.follow()
    return models


def test_active_users_of_the_day_the_week_and_the_month(models: Models) -> None:
    columns = (
        "report_date, daily_active_users, weekly_active_users, monthly_active_users, new_users,"
        " existing_users"
    )
    rows = models.rows("clickstream_active_users_daily", columns, "app_id = 'active'")
    assert rows == [
        (day(1), 2, 2, 2, 2, 0),
        (day(2), 1, 2, 2, 0, 1),
        (day(8), 2, 2, 3, 1, 1),  # 1 May is the 8th day back
        (day(30), 1, 1, 3, 0, 1),  # 1 May is the 30th
        (day(31), 1, 2, 3, 1, 0),  # u2 is out, u4 is in
    ]
    columns = "dau_wau, wau_mau, dau_mau, event_count, purchase_count, purchasers"
    where = "app_id = 'active' and report_date = date '2024-05-08'"
    rows = models.rows("clickstream_active_users_daily", columns, where)
    assert rows == [(1.0, 2 / 3, 2 / 3, 3, 2, 1)]
    rows = models.rows("clickstream_active_users_daily", "purchase_value_in_usd", where)
    assert rows == [(7.5,)]


def test_a_day_without_a_user_still_has_those_of_its_week_and_month(
    build: Callable[..., Models],
) -> None:
    today = datetime.now(UTC).date()
    before = datetime.now(UTC) - timedelta(days=2)
    models = build(
        [
            event("click", "2024-01-08 10:00", "a"),
            event("click", "2024-01-30 10:00", "b"),
            event("click", round(before.timestamp() * 1000), "c"),
            event("click", "9998-01-01 10:00", "ahead"),
        ]
    )
    columns = "daily_active_users, weekly_active_users, monthly_active_users, dau_mau"
    where = "report_date = date '2024-01-{}'"
    for day_of_month, expected in {
        "08": (1, 1, 1, 1.0),
        "09": (0, 1, 1, 0.0),
        "14": (0, 1, 1, 0.0),
        "15": (0, 0, 1, 0.0),
        "29": (0, 0, 1, 0.0),
        "30": (1, 1, 1, 1.0),
    }.items():
        rows = models.rows("clickstream_active_users_calendar", columns, where.format(day_of_month))
        assert rows == [expected], day_of_month
    columns = "event_count, event_count_last_7_days, event_count_last_30_days"
    where = "report_date = date '2024-01-15' and user_type = 'new'"
    assert models.rows("clickstream_activity_rolling", columns, where) == [(0, 0, 1)]
    for view in ("clickstream_active_users_calendar", "clickstream_activity_rolling"):
        # Beyond 29 days nothing is told, nor after today but what has events.
        last = "report_date > date '2024-02-20'"
        assert [row[0] for row in models.rows(view, "distinct report_date", last)] == [
            date(2024, 2, 21), date(2024, 2, 22), date(2024, 2, 23), date(2024, 2, 24),
            date(2024, 2, 25), date(2024, 2, 26), date(2024, 2, 27), date(2024, 2, 28),
            *(today - timedelta(days=ago) for ago in (2, 1, 0)),
            date(9998, 1, 1),
        ]  # fmt: skip


def test_engagement_of_the_sessions_of_a_day(models: Models) -> None:
    rows = models.rows("clickstream_engagement_daily", "* exclude (load_id)", "app_id = 'engaged'")
    web = (2, 1, 1, 2, 9_000, 1, 0.5, 2.0, 1.0, 4_500.0, 9_000.0, 2.0, 1.0)
    ios = (2, 0, 2, 0, 0, 2, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert rows == [("engaged", day(1), "Web", *web), ("engaged", day(1), "iOS", *ios)]


def test_a_user_of_two_platforms_is_one_user_of_the_app(models: Models) -> None:
    columns = (
        "report_date, session_count, engaged_session_count, session_views, user_count,"
        " sessions_per_user, engagement_time_per_user, views_per_session"
    )
    rows = models.rows("clickstream_engagement_overall_daily", columns, "app_id = 'engaged'")
    assert rows == [(day(1), 4, 1, 2, 2, 2.0, 4_500.0, 0.5)]


def test_what_nobody_known_did_is_in_no_average_per_user(build: Callable[..., Models]) -> None:
    nobody = {"user": None, "session": None}
    page = {"_page_title": "A"}
    models = build(
        [
            event("_page_view", "2024-05-01 10:00", "a", params=page),
            event("_page_view", "2024-05-01 10:00", "b", params=page, **nobody),
            event("_page_view", "2024-05-01 18:00", "c", params=page, **nobody),
            event(
                "_user_engagement",
                "2024-05-01 18:01",
                "d",
                params={"_engagement_time_msec": 60_000},
                **nobody,
            ),
            event("click", "2024-05-02 10:00", "e", **nobody),
        ]
    )
    columns = (
        "session_count, engaged_session_count, session_views, session_engagement_time, user_count,"
        " sessions_per_user, engaged_sessions_per_user, engagement_time_per_user, views_per_user"
    )
    for table in ("clickstream_engagement_overall_daily", "clickstream_engagement_daily"):
        assert models.rows(table, columns) == [
            (1, 0, 0, 0, 0, None, None, None, None),
            (2, 1, 3, 60_000, 1, 1.0, 0.0, 0.0, 1.0),
        ]
    assert models.rows("clickstream_path_transition_daily", "*") == []


def test_active_users_are_told_with_their_first_day_and_type(models: Models) -> None:
    columns = "report_date, user_pseudo_id, user_id, first_touch_date, user_type, event_count"
    rows = models.rows("clickstream_active_users", columns, "app_id = 'gained'")
    assert rows == [
        (day(1), "u1", "8", day(1), "new", 1),
        (day(1), "u2", "7", day(1), "new", 1),
        (day(2), "u1", "8", day(1), "existing", 1),
    ]


def test_events_are_told_with_the_type_of_their_user(models: Models) -> None:
    columns = "event_date, event_id, event_name, platform, user_type, user_id"
    where = "app_id = 'gained' and event_date = date '2024-05-02'"
    rows = models.rows("clickstream_activity_events", columns, where)
    assert rows == [(day(2), "u12click10:00", "click", "Web", "existing", "8")]
    rows = models.rows("clickstream_activity_events", "user_type, count(*)", "true group by all")
    assert (
        models.rows(
            "clickstream_activity_daily", "user_type, sum(event_count)", "true group by all"
        )
        == rows
    )


def test_transitions_are_edges_between_neighbours_in_a_session(models: Models) -> None:
    columns = "report_date, step, source, target, transition_count, user_count"
    where = "app_id = 'paths' and node_type = '{}'"
    rows = models.rows("clickstream_path_transition_daily", columns, where.format("event"))
    assert rows == [
        (day(1), 1, "_page_view", "_page_view", 1, 1),
        (day(1), 2, "_page_view", "click", 1, 1),
        (day(1), 3, "click", "_page_view", 1, 1),
        (day(1), 4, "_page_view", "_page_view", 1, 1),
        (day(2), 5, "_page_view", "_page_view", 1, 1),
        (day(2), 6, "_page_view", "_page_view", 1, 1),
    ]
    # What is no view, as the click in the cart, does not part two views.
    rows = models.rows("clickstream_path_transition_daily", columns, where.format("view"))
    assert rows == [
        (day(1), 1, "Home", "Cart", 1, 1),
        (day(1), 2, "Cart", "Cart", 1, 1),
        (day(1), 3, "Cart", "Pay", 1, 1),
    ]


def test_the_seeds_path_view_names_the_screen_of_the_very_next_event(models: Models) -> None:
    columns = "event_rank, current_screen, next_screen"
    rows = models.rows("clickstream_path_view", columns, "app_id = 'paths' and event_rank < 5")
    assert rows == [(1, "Home", "Cart"), (2, "Cart", None), (3, None, "Cart"), (4, "Cart", "Pay")]


def test_events_by_name_and_type_of_user(models: Models) -> None:
    columns = "report_date, event_name, user_type, event_count, user_count"
    rows = models.rows("clickstream_activity_daily", columns, "app_id = 'active'")
    assert rows == [
        (day(1), "click", "new", 2, 2),
        (day(2), "_page_view", "existing", 1, 1),
        (day(8), "click", "new", 1, 1),
        (day(8), "purchase", "existing", 2, 1),
        (day(30), "click", "existing", 1, 1),
        (day(31), "click", "new", 1, 1),
    ]


def test_events_of_the_last_7_and_30_days(models: Models) -> None:
    columns = "report_date, user_type, event_count, event_count_last_7_days"
    where = (
        "app_id = 'active' and event_name = 'click' and user_type = 'new'"
        " and day(report_date) in (1, 2, 8, 30, 31)"
    )
    rows = models.rows(
        "clickstream_activity_rolling", f"{columns}, event_count_last_30_days", where
    )
    assert rows == [
        (day(1), "new", 2, 2, 2),
        (day(2), "new", 0, 2, 2),
        (day(8), "new", 1, 1, 3),
        (day(30), "new", 0, 0, 3),
        (day(31), "new", 1, 1, 2),
    ]


def test_retention_is_the_share_of_the_cohort(models: Models) -> None:
    columns = "first_date, day_diff, report_date, retention_rate"
    where = "app_id = 'active' and returned_user_count > 0"
    rows = models.rows("clickstream_retention_rate", columns, where)
    assert rows == [
        (day(1), 0, day(1), 1.0),
        (day(1), 1, day(2), 0.5),
        (day(1), 7, day(8), 0.5),
        (day(8), 0, day(8), 1.0),
        (day(8), 22, day(30), 1.0),
        (day(31), 0, day(31), 1.0),
    ]


def test_a_day_on_which_nobody_returned_counts_in_the_retention_of_cohorts(models: Models) -> None:
    """Up to the last day of the app with an event, and no further than the horizon."""
    columns = "first_date, count(*), min(day_diff), max(day_diff), max(report_date)"
    rows = models.query(
        f"select {columns} from clickstream_retention_rate where app_id = 'active'"
        " group by first_date order by first_date"
    )
    assert rows == [
        (day(1), 31, 0, 30, day(31)),
        (day(8), 24, 0, 23, day(31)),
        (day(31), 1, 0, 0, day(31)),
    ]
    # The cohorts of 1 and 8 May have 0.5 and nobody on day 7.
    columns = "returned_user_count, total_users, retention_rate"
    rows = models.rows("clickstream_retention_rate", columns, "app_id = 'active' and day_diff = 7")
    assert rows == [(0, 1, 0.0), (1, 2, 0.5)]


def test_a_clock_that_is_ahead_adds_no_days_to_come_to_cohorts(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    models.definitions = Definitions(retention_days=2)
    ahead = event("click", "9998-05-01 10:00", "ahead", user="u2")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    now = event("click", round(today.timestamp() * 1000), "now")
    write(models.sink, [at(1, "u1"), at(8, "u3"), at(9, "u3"), now, ahead])
    models.run()
    columns = "first_date, day_diff, returned_user_count"
    assert models.rows("clickstream_retention_rate", columns) == [
        (day(1), 0, 1),
        (day(1), 1, 0),
        (day(1), 2, 0),
        (day(8), 0, 1),
        (day(8), 1, 1),
        (day(8), 2, 0),
        (date(9998, 5, 1), 0, 1),
    ]


def test_a_cohort_of_today_has_no_days_to_come(new_models: Callable[[], Models]) -> None:
    models = new_models()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    ahead = event("click", "9998-05-01 10:00", "ahead", user="u2")
    write(models.sink, [event("click", round(today.timestamp() * 1000), "now"), ahead])
    models.run()
    rows = models.rows("clickstream_retention_rate", "first_date, day_diff")
    assert rows == [(today.date(), 0), (date(9998, 5, 1), 0)]


def test_today_is_that_of_the_time_zone(new_models: Callable[[], Models]) -> None:
    """Its clocks may show another day than those of UTC: before noon a day less, else one more."""
    now = datetime.now(UTC)
    zone, hours = ("Etc/GMT+12", -12) if now.hour < 12 else ("Pacific/Kiritimati", 14)
    noon = (now + timedelta(hours=hours)).replace(hour=12, minute=0, second=0, microsecond=0)

    def then(user: str, days: int) -> dict[str, object]:
        time = noon + timedelta(days=days, hours=-hours)
        return event("click", round(time.timestamp() * 1000), f"{user}{days}", user=user)

    models = new_models()
    models.definitions = Definitions(time_zone=zone)
    write(models.sink, [then("u1", -2), then("u2", -1), then("u3", 0), then("ahead", 99)])
    models.run()
    today = noon.date()
    cohorts = models.rows(
        "clickstream_retention_rate", "first_date, max(day_diff)", "true group by 1"
    )
    assert cohorts == [
        *((today - timedelta(days=days), days) for days in (2, 1, 0)),
        (today + timedelta(days=99), 0),
    ]
    days = models.rows("clickstream_active_users_calendar", "report_date, monthly_active_users")
    assert days == [
        (today - timedelta(days=2), 1),
        (today - timedelta(days=1), 2),
        (today, 3),
        (today + timedelta(days=99), 1),
    ]


def test_cohorts_follow_a_first_day_that_a_late_event_moves(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    write(models.sink, [at(5, "u1"), at(20, "u1"), at(5, "u2"), at(31, "u2")])
    models.run()
    columns = "first_date, day_diff, returned_user_count, total_users"
    first = [(day(5), 0, 2, 2), (day(5), 15, 1, 2), (day(5), 26, 1, 2)]
    assert models.rows("clickstream_retention_view", columns) == first
    write(models.sink, [at(2, "u1", batch="late")])
    models.follow()
    assert models.rows("clickstream_retention_view", columns) == [
        (day(2), 0, 1, 1),
        (day(2), 3, 1, 1),
        (day(2), 18, 1, 1),
        (day(5), 0, 1, 1),
        (day(5), 26, 1, 1),
    ]
    drop(models.sink, "late")
    models.follow()
    assert models.rows("clickstream_retention_view", columns) == first


def test_the_retention_of_a_day_is_rebuilt_for_the_days_that_a_load_touches(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    models.definitions = Definitions(retention_days=3)
    write(models.sink, [at(1, "u1"), at(2, "u1"), at(20, "u1"), at(20, "u2"), at(22, "u2")])
    models.run()
    write(models.sink, [at(21, "u2", session="s21")])
    models.follow()
    columns = "report_date, first_date, returned_user_count, load_id"
    assert models.rows("clickstream_retention_daily", columns) == [
        (day(1), day(1), 1, 1),
        (day(2), day(1), 1, 1),
        (day(20), day(20), 1, 1),
        (day(21), day(20), 1, 2),
        (day(22), day(20), 1, 2),  # as far as a first day that moves would be counted
    ]


def test_users_are_told_with_their_attributes_and_counted_by_their_first_touch(
    models: Models,
) -> None:
    columns = "user_pseudo_id, user_id, first_install_source, custom_attr_key, custom_attr_value"
    rows = models.rows("clickstream_acquisition_users", columns, "app_id = 'gained'")
    assert rows == [
        ("u1", None, "store", "city", "Bonn"),
        ("u1", None, "store", "plan", "free"),
        ("u2", "7", None, None, None),
    ]
    columns = "report_date, first_visit_country, first_traffic_source_source, new_users"
    rows = models.rows(
        "clickstream_acquisition_daily", f"{columns}, registered_users", "app_id = 'gained'"
    )
    assert rows == [
        (day(1), "Germany", "news", 1, 1),
        (day(1), None, "(direct)", 1, 1),
    ]


def test_a_device_has_its_resolution(models: Models) -> None:
    rows = models.rows("clickstream_device_usage", "screen_resolution", "app_id = 'devices'")
    assert rows == [("900 x 400",)]


def test_a_day_on_which_a_user_is_no_longer_new_is_counted_anew(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    write(models.sink, [at(5, "u1"), at(7, "u1"), at(5, "u2")])
    models.run()
    columns = "report_date, user_type, event_count"
    first = [(day(5), "new", 2), (day(7), "existing", 1)]
    assert models.rows("clickstream_activity_daily", columns) == first
    write(models.sink, [at(2, "u1", batch="late")])
    models.follow()
    assert models.rows("clickstream_activity_daily", columns) == [
        (day(2), "new", 1),
        (day(5), "existing", 1),
        (day(5), "new", 1),
        (day(7), "existing", 1),
    ]
    columns_of_users = "report_date, new_users, weekly_active_users"
    assert models.rows("clickstream_active_users_daily", columns_of_users) == [
        (day(2), 1, 1),
        (day(5), 1, 2),
        (day(7), 0, 2),
    ]
    drop(models.sink, "late")
    models.follow()
    assert models.rows("clickstream_activity_daily", columns) == first


def test_a_session_that_turns_out_to_start_sooner_leaves_its_day(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    write(models.sink, [at(5, "u1", time="00:10", session=None)])
    models.run()
    columns = "report_date, session_count, engaged_session_count"
    assert models.rows("clickstream_engagement_daily", columns) == [(day(5), 1, 0)]
    write(models.sink, [at(4, "u1", time="23:50", session=None)])
    models.follow()
    assert models.rows("clickstream_engagement_daily", columns) == [(day(4), 1, 1)]
