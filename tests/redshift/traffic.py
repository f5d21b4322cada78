"""Mixed events for the warehouse: typed parameters, repeated keys, nulls, odd text, late events."""

import random
from datetime import timedelta
from typing import Any

from tests.dbt.model_input import event, ms

DAY = timedelta(days=1) // timedelta(milliseconds=1)
NAMES = ["_page_view", "_screen_view", "_session_start", "_user_engagement", "_first_visit", "buy"]


def traffic(batch: int, *, seed: int = 7, events: int = 60) -> list[dict[str, Any]]:
    """A batch of events; batches share users, sessions and days."""
    chance = random.Random(f"{seed} {batch}")
    rows = []
    for number in range(events):
        time = ms("2024-12-28 00:00") + batch * DAY + chance.randrange(-DAY, DAY, DAY // 97)
        params: list[tuple[str, object]] = [
            ("_page_title", chance.choice(["A", "B", 'it\'s \\ "quoted" ü'])),
            ("_screen_name", chance.choice(["start", None])),
            ("price", chance.choice([0.1, 1.0, -2.5, 12.0])),
            ("count", chance.choice([3, 2**40])),
        ]
        if chance.random() < 0.3:
            params += [("_session_duration", chance.choice([0, 12_000, 2**40]))]
        if chance.random() < 0.3:
            params += [("_engagement_time_msec", 5), ("_engagement_time_msec", 9)]
        if chance.random() < 0.2:
            params += [("_session_start_timestamp", time - chance.randrange(DAY))]
        if number % 10 == 0:  # what can't be a start; counts where none was sent before
            nonsense = [0, -1, time // 1000, time + DAY][number // 10 % 4]
            params += [("_session_start_timestamp", nonsense)]
        rows.append(
            event(
                chance.choice(NAMES),
                time,
                f"e{batch}-{number:03}",
                app=chance.choice(["web.shop", "app"]),
                user=chance.choice(["u1", "u2", "u3", f"new{batch}", None]),
                session=chance.choice([f"s{batch}", f"s{batch - 1}", "long", "", None]),
                params=params,
                attributes=chance.choice(
                    [{}, {"plan": chance.choice("xyz"), "age": 7}, {"score": 1.5}]
                ),
                batch=f"b{batch}",
                user_id=chance.choice([None, None, "7"]),
                platform=chance.choice(["Web", "iOS", None]),
                device={
                    "ua_os": chance.choice(["Linux", None]),
                    "screen_width": chance.choice([1080, None]),
                },
                geo={"country": "Norway"},
                traffic_source={"source": chance.choice(["", "mail", None])},
            )
        )
    return rows
