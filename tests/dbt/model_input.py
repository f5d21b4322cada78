"""Input events for the tests of the models: a test states only the fields that matter to it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.processing.schema import ODS_EVENT

PROJECT = "shop_project"
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
