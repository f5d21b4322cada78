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
from clickstream_dagster.collector.requests import Request
from clickstream_dagster.collector.settings import CollectorSettings
from clickstream_dagster.collector.sinks.directory import DirectorySink
from clickstream_dagster.collector.sinks.settings import SinkSettings

BODY = gzip.compress(b"x" * MAX_DECODED_BYTES)  # 8 KB, that unpack to 8 MB
REQUESTS = 20


class Client:
    """A connection, as a request knows it."""

    peer = "127.0.0.1"
    server = SimpleNamespace(date_line=b"", is_ending=False)

    def send_answers(self) -> None:
        pass


def request_of(client: Client) -> Request:
    headers = {"content-encoding": "gzip", "content-length": str(len(BODY))}
    return Request(client, "POST", b"/collect?appId=shop_web", headers, is_last=False)


def status_of(request: Request) -> int:
    """Give the status that it was answered, 0 before."""
    return int(request.reply.split()[1]) if request.reply else 0


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
    requests = [request_of(Client()) for _ in range(REQUESTS)]

    async def run() -> None:
        collector = Collector(settings, sink, asyncio.get_running_loop())
        for request in requests:  # all come before the first one has come whole
            collector.admit(request)
        for request in requests:
            request.body = BODY
            collector.handle(request)
            await asyncio.sleep(0)
        statuses = {status_of(request) for request in requests}
        assert statuses == {0, 503}  # no 200 before the sync
        goes_on.set()
        while any(request.reply is None for request in requests):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(collector.close)

    asyncio.run(asyncio.wait_for(run(), 120))

    statuses = Counter(status_of(request) for request in requests)
    # One group is on its way to the disk, as much may wait, and one body more.
    assert 1 <= statuses[200] <= 2 * (MAX_WAITING_BYTES // MAX_DECODED_BYTES + 1)
    assert statuses[200] + statuses[503] == REQUESTS
    assert sum(1 for _ in (tmp_path / "raw").rglob("*.log.gz")) >= 1
