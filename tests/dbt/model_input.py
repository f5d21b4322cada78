"""Input events for the tests of the models: a test states only the fields that matter to it."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.schema import ODS_EVENT

PROJECT = "shop_project"
DAY = timedelta(days=1) // timedelta(milliseconds=1)
TYPES = {str: "string_value", int: "int_value", float: "double_value"}


def ms(text: str) -> int:
    """Milliseconds since 1970 of a UTC time such as `2024-05-01 10:00` or `... 10:00:00.250`."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def typed(value: object) -> dict[str, object]:
    """A value as the lake holds it; a dict is taken as it is."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {TYPES[type(value)]: value}


def event(
    name: str,
    time: str | int,
    id_: str,
    *,
    app: str = "shop",
    user: str | None = "u1",
    session: str | None = "s1",
    params: dict[str, object] | Iterable[tuple[str, object]] = (),
    attributes: dict[str, object] | None = None,
    batch: str = "b1",
    **fields: Any,
) -> dict[str, Any]:
    """One row of ods_event. `session` and `params` become event_params, `attributes` properties."""
    timestamp = time if isinstance(time, int) else ms(time)
    pairs = list(params.items() if isinstance(params, dict) else params)
    if session is not None:
        pairs.append(("_session_id", session))
    return {
        "app_id": app,
        "event_name": name,
        "event_id": id_,
        "event_timestamp": timestamp,
        "event_date": datetime.fromtimestamp(timestamp / 1000, UTC).date(),
        "ingest_timestamp": timestamp + 1000,
        "event_bundle_sequence_id": 1,
        "event_previous_timestamp": 0,
        "event_server_timestamp_offset": 1000,
        "user_pseudo_id": user,
        "platform": "Web",
        "project_id": PROJECT,
        "ingest_batch": batch,
        "is_bot": False,
        "event_params": [{"key": key, "value": typed(value)} for key, value in pairs],
        "user_properties": [
            {"key": key, "value": typed(value)} for key, value in (attributes or {}).items()
        ],
        **fields,
    }


def arrow(events: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the lake's schema; fields that a row lacks are null."""
    return pa.Table.from_pylist(list(events), schema=ODS_EVENT)


def write(sink: Path, events: Iterable[dict[str, Any]]) -> None:
    """Append the events in one snapshot: one data file for each app and day."""
    Lake(str(sink), PROJECT).table("ods_event").append(arrow(events))


def drop(sink: Path, batch: str) -> None:
    """Take the rows of a batch out, as copy-on-write: files that others share are rewritten."""
    Lake(str(sink), PROJECT).table("ods_event").delete(f"ingest_batch == '{batch}'")


def traffic(batch: int, *, seed: int = 7, events: int = 120) -> list[dict[str, Any]]:
    """A batch of mixed traffic: few users and sessions, so that batches share them; late events,
    equal times, sessions over midnight, events without session or user, changing attributes."""
    chance = random.Random(f"{seed} {batch}")
    rows = []
    for number in range(events):
        time = ms("2024-12-28 00:00") + batch * DAY + chance.randrange(-DAY, DAY, DAY // 97)
        user = chance.choice(["u1", "u2", "u3", "u4", f"new{batch}", None])
        session = chance.choice([f"s{batch}", f"s{batch - 1}", "long", "", None])
        params = {"_page_title": chance.choice("ABC")}
        if chance.random() < 0.3:
            params |= {"_session_duration": chance.randrange(20_000)}
        if chance.random() < 0.3:
            params |= {"_engagement_time_msec": chance.randrange(9_000)}
        if chance.random() < 0.2:
            params |= {"_session_start_timestamp": time - chance.randrange(DAY)}
        rows.append(
            event(
                chance.choice(
                    ["_page_view", "_session_start", "_user_engagement", "_first_visit", "click"]
                ),
                time,
                f"e{batch}-{number:03}",
                app=chance.choice(["web", "app"]),
                user=user,
                session=session,
                params=params,
                attributes={chance.choice(["plan", "city"]): chance.choice("xyz")},
                batch=f"b{batch}",
                user_id=chance.choice([None, None, "7", "8"]),
                platform=chance.choice(["Web", "Web", "iOS", None]),
                device={"ua_os": chance.choice(["Linux", None])},
            )
        )
    return rows
