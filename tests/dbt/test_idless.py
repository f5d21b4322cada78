"""Sessions of events without session id: the same however and whenever the events arrive."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.dbt.conftest import Models
from tests.dbt.model_input import drop, event, ms, write

MINUTE = 60_000
START = ms("2024-05-01 20:00")


def idless(minute: int, id_: str, *, batch: str = "b1", **fields: Any) -> dict[str, Any]:
    """A view without session id, some minutes after 20:00 of 1 May."""
    page = {"_page_title": id_}
    time = START + minute * MINUTE
    return event("_page_view", time, id_, session=None, batch=batch, params=page, **fields)


def sessions(models: Models) -> list[tuple[int, int]]:
    """First minute and number of events of each session, as the session and path view have it."""
    rows = models.rows("clickstream_session_view", "session_id, session_views, user_pseudo_id")
    paths = models.rows("clickstream_path_view", "session_id, user_pseudo_id, event_rank")
    ranks = {(key, user): rank for key, user, rank in sorted(paths, key=lambda row: row[2])}
    assert {(key, user): views for key, views, user in rows} == ranks
    return sorted((int(key.split("-")[1]) - START, views) for key, views, _ in rows)


def minutes(*found: tuple[int, int]) -> list[tuple[int, int]]:
    return [(minute * MINUTE, views) for minute, views in found]


@pytest.mark.heavy
def test_late_events_extend_join_and_leave_sessions(new_models: Callable[[], Models]) -> None:
    models = new_models()
    write(models.sink, [idless(230, "a"), idless(290, "b"), idless(400, "c")])
    models.run()
    assert sessions(models) == minutes((230, 1), (290, 1), (400, 1))
    # Over midnight, which is minute 240: exactly half an hour to both sides joins them.
    write(models.sink, [idless(260, "joins", batch="late")])
    models.follow()
    assert sessions(models) == minutes((230, 3), (400, 1))
    write(models.sink, [idless(205, "earlier", batch="first"), idless(425, "after", batch="b3")])
    models.follow()
    assert sessions(models) == minutes((205, 4), (400, 2))
    drop(models.sink, "late")
    models.follow()
    assert sessions(models) == minutes((205, 2), (290, 1), (400, 2))
    drop(models.sink, "first")
    models.follow()
    assert sessions(models) == minutes((230, 1), (290, 1), (400, 2))


def test_an_event_reaches_the_whole_of_a_session_of_many_days(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    chain = [idless(30 * step, f"e{step:03}") for step in range(48 * 6)]
    write(models.sink, chain)
    models.run()
    assert sessions(models) == minutes((0, 288))
    write(models.sink, [idless(-30, "before", batch="b2"), idless(30 * 400, "far", batch="b2")])
    models.follow()
    assert sessions(models) == minutes((-30, 289), (12_000, 1))
    drop(models.sink, "b2")
    models.follow()
    assert sessions(models) == minutes((0, 288))


def minutely(batch: int) -> list[dict[str, Any]]:
    """A batch of views of three users on two platforms, half an hour apart more or less."""
    chance = random.Random(batch)
    return [
        idless(
            chance.randrange(0, 5 * 24 * 60),
            f"{batch}-{number:03}",
            batch=f"b{batch}",
            user=chance.choice(["u1", "u2", "#u-1"]),
            platform=chance.choice(["Web", None]),
        )
        for number in range(150)
    ]


@pytest.mark.heavy
def test_any_order_and_any_repetition_end_in_the_same_sessions(
    new_models: Callable[[], Models], build: Callable[..., Models]
) -> None:
    batches = {number: minutely(number) for number in range(4)}
    together = build(*batches.values())
    models = new_models()
    write(models.sink, batches[2])
    models.run()
    for number in (0, 3, 1):
        write(models.sink, batches[number])
        models.follow()
    assert models.everything() == together.everything()
    # A batch again, and one that only the event base has taken in when the next one comes.
    drop(models.sink, "b0")
    models.follow("clickstream_event_base")
    drop(models.sink, "b3")
    models.follow("clickstream_event_base", "clickstream_session_base")
    write(models.sink, batches[0])
    write(models.sink, batches[3])
    models.follow()
    assert models.everything() == together.everything()
    assert models.rows("clickstream_load_session", "*") == []
    assert len(sessions_of(models, "u1")) > 20


def sessions_of(models: Models, user: str) -> list[tuple]:
    return models.rows("clickstream_session_view", "session_id", f"user_pseudo_id = '{user}'")


def test_other_apps_platforms_and_users_have_sessions_of_their_own(
    build: Callable[..., Models],
) -> None:
    others = [{"app": "other"}, {"platform": "iOS"}, {"user": "u2"}]
    models = build(
        [idless(0, "a"), *(idless(1, f"b{n}", **other) for n, other in enumerate(others))]
    )
    assert models.rows("clickstream_session_view", "session_views") == [(1,)] * 4


def test_a_clock_at_the_end_of_the_calendar_stops_nothing(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    last = ms("9999-12-31 20:00")
    ends = [event("a", last + n * MINUTE, f"end{n}", session=None) for n in (0, 40)]
    write(models.sink, [ends[0], event("a", ms("9999-12-30 20:00"), "before")])
    models.run()
    write(models.sink, [ends[1], idless(0, "now")])
    models.follow()
    keys = models.rows("clickstream_session_view", "session_id")
    times = (START, last, last + 40 * MINUTE)
    assert keys == sorted([("s1",), *((f"#u1-{time}",) for time in times)])
