"""Runs a plug-in on a few rows, as a job would and with its contract checked: for its tests."""

import base64
import gzip
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from clickstream_dagster.batches.objects import list_objects
from clickstream_dagster.processing.contract import watched
from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.plugins import (
    ENRICHMENTS,
    TRANSFORMERS,
    ArrowPlugin,
    PluginChoice,
    PluginContext,
    load_plugin,
)
from clickstream_dagster.processing.requests import ReadTally, read_requests

_CONTEXT = PluginContext("project", ("app",))
_TIME_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC


def enrich(
    plugin: type[ArrowPlugin] | str,
    rows: Sequence[Mapping[str, object]],
    config: Mapping[str, object] | None = None,
    context: PluginContext = _CONTEXT,
) -> list[dict[str, object]]:
    """Give events as an enrichment changes them.

    A row names the columns of `events.EVENT` that matter; `params`, a mapping of texts and
    numbers, becomes event_params. Raises PluginError where the plug-in breaks its contract.
    """
    step = _loaded(plugin, ENRICHMENTS, config, context)
    table = pa.Table.from_pylist(
        [_event(number, row) for number, row in enumerate(rows)], schema=EVENT
    )
    given = watched(step, keeps_rows=True)(iter(table.to_batches()))
    return [row for batch in given for row in batch.to_pylist()]


def transform(
    plugin: type[ArrowPlugin] | str,
    bodies: Sequence[str],
    config: Mapping[str, object] | None = None,
    context: PluginContext = _CONTEXT,
) -> list[dict[str, object]]:
    """Give the rows, bad ones included, that a transformer makes of the bodies of requests.

    Raises PluginError where the plug-in breaks its contract.
    """
    step = _loaded(plugin, TRANSFORMERS, config, context)
    records = [
        {
            "rid": f"request-{number}",
            "ip": "203.0.113.7",
            "ua": "test",
            "uri": "/collect?appId=app&platform=Web",
            "ingest_time": _TIME_MS + 1_000,
            "data": base64.b64encode(gzip.compress(body.encode())).decode(),
        }
        for number, body in enumerate(bodies)
    ]
    with tempfile.TemporaryDirectory() as directory:
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        Path(directory, "requests.log.gz").write_bytes(gzip.compress(lines.encode()))
        requests = read_requests(list(list_objects(directory)), ReadTally())
        given = watched(step, keeps_rows=False)(iter(requests))
        return [row for batch in given for row in batch.to_pylist()]


def params_of(row: Mapping[str, object]) -> dict[str, object]:
    """Give the event_params of a row as a mapping."""
    return {
        entry["key"]: next((one for one in entry["value"].values() if one is not None), None)
        for entry in row["event_params"] or []
    }


def _loaded(
    plugin: type[ArrowPlugin] | str,
    group: str,
    config: Mapping[str, object] | None,
    context: PluginContext,
) -> ArrowPlugin:
    name = plugin if isinstance(plugin, str) else f"{plugin.__module__}:{plugin.__qualname__}"
    step = load_plugin(PluginChoice(name, config or {}), group, context)
    step.check()
    return step


def _event(number: int, row: Mapping[str, object]) -> dict[str, object]:
    given = dict(row)
    kinds = {str: "string_value", int: "int_value", float: "double_value"}
    if "params" in given:
        given["event_params"] = [
            {"key": key, "value": {kinds[type(value)]: value}}
            for key, value in given.pop("params").items()
        ]
    unknown = given.keys() - set(EVENT.names)
    if unknown:
        raise KeyError(f"{', '.join(sorted(unknown))}: no column of an event")
    moment = given.get("event_timestamp", _TIME_MS)
    return {
        "event_id": f"event-{number}",
        "event_name": "_page_view",
        "app_id": "app",
        "project_id": "project",
        "user_pseudo_id": "user-1",
        "event_timestamp": moment,
        "event_date": pa.scalar(moment, pa.timestamp("ms")).as_py().date(),
        "ingest_timestamp": _TIME_MS + 1_000,
        "request_id": "request-0",
        "request_position": number,
        "platform": "Web",
        "is_bot": False,
        **given,
    }
