"""A disk that stands still: what waits for it is bounded, and nobody is told that it is there."""

import asyncio
import gzip
import os
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from clickstream_dagster.collector.access import Access, AccessFile
from clickstream_dagster.collector.app import Collector
from clickstream_dagster.collector.bodies import MAX_DECODED_BYTES
from clickstream_dagster.collector.log import MAX_WAITING_BYTES
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.collector.sinks.directory import DirectorySink
from clickstream_dagster.collector.sinks.settings import SinkSettings

BODY = gzip.compress(b"x" * MAX_DECODED_BYTES)  # 8 KB, that unpack to 8 MB
REQUESTS = 20


class Headers(dict):
    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


class Request:
    """A request as the server hands it over; its body comes a turn of the loop later."""

    scope = SimpleNamespace(
        proto="http",
        path="/collect",
        method="POST",
        query_string="appId=shop_web",
        client="127.0.0.1:1",
        headers=Headers({"content-encoding": "gzip", "content-length": str(len(BODY))}),
    )

    def __init__(self) -> None:
        self.status = 0

    async def __call__(self) -> bytes:
        await asyncio.sleep(0)
        return BODY

    def response_empty(self, status: int, headers: object) -> None:
        self.status = status

    def response_str(self, status: int, headers: object, text: str) -> None:
        self.status = status


def test_bodies_that_grow_do_not_pile_up_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, sink = tmp_path / "spool", DirectorySink(tmp_path / "raw")
    spool.mkdir()
    AccessFile(spool).write(Access(("shop_web",)))
    settings = CollectorSettings(
        sink=str(tmp_path / "raw"),
        sink_settings=SinkSettings(project_id="shop"),
        spool=spool,
        min_free_bytes=0,
    )
    goes_on, sync = threading.Event(), os.fdatasync

    def standing_still(handle: int) -> None:
        assert goes_on.wait(60)
        sync(handle)

    monkeypatch.setattr(os, "fdatasync", standing_still)
    requests = [Request() for _ in range(REQUESTS)]

    async def run() -> None:
        collector = Collector(settings, sink)
        collector.__rsgi_init__(asyncio.get_running_loop())
        tasks = [asyncio.create_task(collector.__rsgi__(one.scope, one)) for one in requests]
        while sum(one.status == 503 for one in requests) == 0:
            await asyncio.sleep(0.01)
        assert {one.status for one in requests} <= {0, 503}  # no 200 before the sync
        goes_on.set()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(collector.__rsgi_del__, asyncio.get_running_loop())

    asyncio.run(asyncio.wait_for(run(), 120))

    statuses = Counter(one.status for one in requests)
    # One group is on its way to the disk, as much may wait, and one body more.
    assert 1 <= statuses[200] <= 2 * (MAX_WAITING_BYTES // MAX_DECODED_BYTES + 1)
    assert statuses[200] + statuses[503] == REQUESTS
    assert sum(1 for _ in (tmp_path / "raw").rglob("*.log.gz")) >= 1
