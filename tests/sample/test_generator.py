"""The traffic as a whole: its size, its order, its trouble."""

from datetime import UTC, datetime

import pytest

from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import CLEAN, PlanError, TrafficPlan
from clickstream_dagster.sample.trouble import Trouble

HOUR_MS = 3_600_000


def test_equal_plans_give_equal_traffic_and_another_seed_other_traffic() -> None:
    plan = TrafficPlan(events=2000, days=2, seed=3)
    requests = list(generate(plan))
    assert list(generate(plan)) == requests
    assert list(generate(TrafficPlan(events=2000, days=2, seed=4))) != requests


@pytest.mark.parametrize(("events", "days"), [(1, 1), (7, 400), (999, 3), (3000, 1)])
def test_there_are_exactly_as_many_distinct_events_as_planned(
    make_traffic, events: int, days: int
) -> None:
    made = make_traffic(TrafficPlan(events=events, days=days))
    assert len({event["event_id"] for event in made.events()}) == events
    assert made.summary.events == events


def test_requests_come_in_order_of_time_and_inside_the_plan(traffic) -> None:
    moments = [request.ingest_ms for request in traffic.requests]
    assert moments == sorted(moments)
    assert traffic.plan.start_ms <= moments[0]
    assert moments[-1] < traffic.plan.end_ms


def test_the_summary_is_what_the_bodies_hold(traffic) -> None:
    seen: set[str] = set()
    counts = dict.fromkeys(("duplicates", "too_old", "foreign", "broken"), 0)
    for request, events in zip(traffic.requests, traffic.decoded, strict=True):
        if events is None:
            counts["broken"] += 1
            continue
        for event in events:
            if event["event_id"] in seen:
                counts["duplicates"] += 1
                continue
            seen.add(event["event_id"])
            is_kept = event["event_type"] in ("_first_open", "_profile_set")
            is_wrong = abs(request.ingest_ms - request.upload_ms) > HOUR_MS / 6
            now_ms = request.upload_ms if is_wrong else request.ingest_ms
            is_old = now_ms - event["timestamp"] > 72 * HOUR_MS
            counts["too_old"] += is_old and not is_kept
            counts["foreign"] += event["app_id"] not in traffic.plan.app_ids
    assert len(traffic.requests) == traffic.summary.requests
    assert counts == {name: getattr(traffic.summary, name) for name in counts}


@pytest.mark.parametrize(
    ("name", "share", "slack"),
    [
        ("duplicates", 0.01, 0.001),
        ("late", 0.01, 0.002),
        ("wrong_clock", 0.002, 0.002),
        ("bots", 0.01, 0.002),
        ("foreign", 0.001, 0.0005),
    ],
)
def test_trouble_keeps_to_its_share(traffic, name: str, share: float, slack: float) -> None:
    assert getattr(traffic.summary, name) / 20_000 == pytest.approx(share, abs=slack)


def test_one_request_in_a_thousand_is_broken(traffic) -> None:
    assert traffic.summary.broken / traffic.summary.requests == pytest.approx(0.001, abs=0.0002)


def test_late_and_too_old_events_are_as_late_as_they_say(traffic) -> None:
    for request, events in zip(traffic.requests, traffic.decoded, strict=True):
        if request.trouble not in (Trouble.LATE, Trouble.TOO_OLD):
            continue
        for event in events:
            hours = (request.ingest_ms - event["timestamp"]) / HOUR_MS
            assert (1 < hours < 48) if request.trouble is Trouble.LATE else (72 < hours < 96)


def test_a_wrong_clock_is_wrong_in_the_upload_time_as_well(traffic) -> None:
    wrong = [r for r in traffic.requests if r.trouble is Trouble.WRONG_CLOCK]
    assert wrong
    assert all(abs(r.ingest_ms - r.upload_ms) > HOUR_MS / 2 for r in wrong)


def test_a_retry_repeats_the_body_under_a_new_request_id(traffic) -> None:
    first = {}
    for request in traffic.requests:
        if request.trouble is Trouble.RETRY:
            original = first[request.body]
            assert request.rid != original.rid
            assert request.ingest_ms >= original.ingest_ms
        elif request.events:
            first[request.body] = request


def test_bots_have_the_user_agents_of_crawlers(traffic) -> None:
    for request in traffic.requests:
        names = ("bot/", "HeadlessChrome")
        is_bot = any(name.lower() in request.user_agent.lower() for name in names)
        assert is_bot == (request.trouble is Trouble.BOT), request.user_agent


def test_clean_traffic_has_no_trouble(make_traffic) -> None:
    made = make_traffic(TrafficPlan(events=5000, days=2, shares=CLEAN))
    assert {request.trouble for request in made.requests} == {None}
    assert None not in made.decoded
    assert made.summary.too_old == 0
    assert {event["app_id"] for event in made.events()} == set(made.plan.app_ids)


@pytest.mark.parametrize(
    ("app_id", "platforms"),
    [
        ("my_web", {"Web"}),
        ("shop_android", {"Android"}),
        ("shop_ios", {"iOS"}),
        ("shop_mobile", {"Android", "iOS"}),
        ("shop", {"Web", "Android", "iOS"}),
    ],
)
def test_the_name_of_an_app_says_where_it_sends_from(
    make_traffic, app_id: str, platforms: set[str]
) -> None:
    made = make_traffic(TrafficPlan(events=1500, days=1, app_ids=(app_id,)))
    assert {request.platform for request in made.requests} == platforms
    assert {request.app_id for request in made.requests} == {app_id}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"events": 0}, "events must be from 1"),
        ({"days": 0}, "days must be from 1"),
        ({"app_ids": ()}, "at least one app id"),
        ({"app_ids": ("a", "a")}, "given twice"),
        ({"app_ids": ("not an id",)}, "'not an id' is not an id"),
        ({"project_id": "../x"}, "is not an id"),
        ({"end": datetime(2026, 1, 8)}, "time zone"),
    ],
)
def test_an_impossible_plan_says_what_is_wrong(values: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        TrafficPlan(**{"events": 10, **values})


def test_the_traffic_ends_when_it_is_told_to(make_traffic) -> None:
    end = datetime(2026, 3, 1, 9, 17, tzinfo=UTC)
    made = make_traffic(TrafficPlan(events=3000, days=1, end=end))
    last = made.requests[-1].ingest_ms
    assert end.timestamp() * 1000 - HOUR_MS < last < end.timestamp() * 1000
