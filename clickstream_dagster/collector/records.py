"""Sink records: what is kept of a request, one JSON object on a line.

The fields are those of the seed solution's sinks (its ingestion server, as processing reads them);
times have milliseconds.
"""

import os
import time
from dataclasses import dataclass

import orjson

MAX_RECORD_BYTES = 16 << 20
"""Processing takes no longer line (processing.limits)."""

_MAX_TEXT_CHARACTERS = 4_096
_SOURCE_TYPE = "http_server"


@dataclass(frozen=True, slots=True)
class Request:
    """What a record is made of. `uri` is path and query, `ip` the client's address."""

    method: str
    path: str
    uri: str
    parameters: dict[str, str]
    ip: str
    user_agent: str | None
    data: str


class Records:
    """Makes records; ids are unique over processes and machines."""

    def __init__(self, *, take_fake_ip: bool) -> None:
        self._take_fake_ip = take_fake_ip
        self._prefix = os.urandom(10).hex()
        self._number = 0
        self._second = -1
        self._second_text = ""

    def next_id(self) -> str:
        """Give an id of a request: 32 hex digits, as nginx makes them."""
        self._number += 1
        return f"{self._prefix}{self._number & 0xFFFFFFFFFFFF:012x}"

    def line(self, request: Request, rid: str) -> bytes:
        """Give the record of a request with its newline."""
        now = time.time_ns() // 1_000_000
        moment = self._moment(now)
        given = request.parameters.get
        record = {"date": moment, "ip": request.ip}
        fake_ip = given("fakeIp")
        if fake_ip is not None:
            record["fakeIp"] = fake_ip
            if self._take_fake_ip:
                record["ip"] = fake_ip
        user_agent = request.user_agent
        record |= {
            "ua": user_agent[:_MAX_TEXT_CHARACTERS] if user_agent else user_agent,
            "uri": request.uri,
            "method": request.method,
            "rid": rid,
            "platform": given("platform"),
            "appId": given("appId"),
            "compression": given("compression"),
            "data": request.data,
            "ingest_time": now,
            "server_ingest_time": now,
            "path": request.path,
            "source_type": _SOURCE_TYPE,
            "timestamp": moment,
        }
        uploaded = given("upload_timestamp")
        if uploaded is not None:
            record["client_timestamp"] = uploaded
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)

    def _moment(self, now_ms: int) -> str:
        second, ms = divmod(now_ms, 1_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{ms:03d}Z"
