"""Sink records: what is kept of a request, one JSON object on a line.

The fields are those of the seed solution's sinks (its ingestion server, as processing reads them);
times have milliseconds.
"""

import os
import time

import orjson

from clickstream_dagster.processing.limits import MAX_REQUEST_TEXT_CHARACTERS

_SOURCE_TYPE = "http_server"


class Records:
    """Makes records; ids are unique over processes and machines."""

    def __init__(self, *, take_fake_ip: bool) -> None:
        self._take_fake_ip = take_fake_ip
        self._prefix = os.urandom(10).hex()
        self._number = 0
        self._second = -1
        self._second_text = ""
        self._ms = -1
        self._ms_text = ""

    def next_id(self) -> str:
        """Give an id of a request: 32 hex digits, as nginx makes them."""
        self._number += 1
        return f"{self._prefix}{self._number & 0xFFFFFFFFFFFF:012x}"

    def line(
        self,
        rid: str,
        method: str,
        path: str,
        query: str,
        given: dict[str, str],
        ip: str,
        user_agent: str | None,
        data: str,
    ) -> bytes:
        """Give the record of a request with its newline.

        `given` are the parameters of the query, `ip` is the client's address, `data` the body.
        """
        now = time.time_ns() // 1_000_000
        moment = self._moment(now)
        if user_agent is not None and len(user_agent) > MAX_REQUEST_TEXT_CHARACTERS:
            user_agent = user_agent[:MAX_REQUEST_TEXT_CHARACTERS]
        record = {
            "date": moment,
            "ip": ip,
            "ua": user_agent,
            "uri": f"{path}?{query}" if query else path,
            "method": method,
            "rid": rid,
            "platform": given.get("platform"),
            "appId": given.get("appId"),
            "compression": given.get("compression"),
            "data": data,
            "ingest_time": now,
            "server_ingest_time": now,
            "path": path,
            "source_type": _SOURCE_TYPE,
            "timestamp": moment,
        }
        if "upload_timestamp" in given:
            record["client_timestamp"] = given["upload_timestamp"]
        if "fakeIp" in given:
            record["fakeIp"] = given["fakeIp"]
            if self._take_fake_ip:
                record["ip"] = given["fakeIp"]
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)

    def _moment(self, now_ms: int) -> str:
        if now_ms == self._ms:
            return self._ms_text
        second, ms = divmod(now_ms, 1_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._ms = now_ms
        self._ms_text = f"{self._second_text}.{ms:03d}Z"
        return self._ms_text
