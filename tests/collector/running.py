"""A collector that runs as a user would run it: `clickstream collector`, on free ports."""

import gzip
import http.client
import io
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickstream_dagster.collector.segments import checksum_start, read_frames
from tests.served import eventually, free_port

APP = "shop_web"
QUERY = f"platform=Web&appId={APP}&event_bundle_sequence_id=1"
CLICKSTREAM = str(Path(sys.executable).with_name("clickstream"))
SECONDS_TO_END = 60


@dataclass
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class RunningCollector:
    """A collector's process, its address, and where its records go."""

    port: int
    metrics_port: int
    spool: Path
    sink: Path
    log: Path
    process: subprocess.Popen = field(repr=False)
    tls: ssl.SSLContext | None = None

    def send(
        self,
        body: bytes | None = b"[]",
        *,
        query: str = QUERY,
        path: str = "/collect",
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = (
            http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self.tls)
            if self.tls
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        )
        try:
            target = f"{path}?{query}" if query else path
            connection.request(method, target, body, headers or {})
            got = connection.getresponse()
            names = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, names, got.read())
        finally:
            connection.close()

    def metrics(self) -> str:
        """Give what /metrics says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=30)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    def stop(self) -> int:
        """End it as an operator does; give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_TO_END)

    def kill(self) -> None:
        """End it and its workers at once, as a loss of power does."""
        with suppress(ProcessLookupError):
            kill_session(self.process.pid)
        self.process.wait(SECONDS_TO_END)

    def logged(self) -> list[dict[str, Any]]:
        """Give the records in its log that the sink does not have yet, in the order of a worker."""
        return [
            json.loads(line)
            for file in sorted(self.spool.rglob("*.open"))
            for frame in read_frames(io.BytesIO(file.read_bytes()), checksum_start(file))
            for line in frame.lines.splitlines()
        ]

    def records(self) -> list[dict[str, Any]]:
        """Stop it, and give what is in the sink."""
        self.stop()
        return records_in(self.sink)


def kill_session(leader: int) -> None:
    """Kill all processes of a session."""
    os.killpg(leader, signal.SIGKILL)


def records_in(sink: Path) -> list[dict[str, Any]]:
    """Give the records of a directory sink, in the order of its objects' names."""
    return [
        json.loads(line)
        for file in sorted(sink.rglob("*.log.gz"))
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]


def refusal_to_run(root: Path, *options: str, apps: tuple[str, ...] = (APP,)) -> str:
    """Start a collector that can't run: it ends by itself; give what it has said."""
    done = subprocess.run(
        [
            *(*_command(root, apps), "--listen", f"127.0.0.1:{free_port()}", "--metrics", "off"),
            *options,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=root,
        timeout=SECONDS_TO_END,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def _command(root: Path, apps: tuple[str, ...]) -> list[str]:
    return [
        *(CLICKSTREAM, "collector", "--project-id", "shop", "--spool", str(root / "spool")),
        *(part for app in apps for part in ("--app-id", app)),
        *(("--sink", str(root / "raw")) if apps else ()),
    ]


@contextmanager
def running_collector(
    root: Path,
    *options: str,
    workers: int = 1,
    apps: tuple[str, ...] = (APP,),
    tls: ssl.SSLContext | None = None,
    before: tuple[str, ...] = (),
) -> Iterator[RunningCollector]:
    """Run a collector whose spool and sink are below `root`; what it left there is taken up.

    Without `apps` the YAML of the project `shop` says all that is not of this machine. `tls` is
    what a client trusts; `before` is a command that runs it, as another user.
    """
    port, metrics_port = free_port(), free_port()
    spool, sink, log = root / "spool", root / "raw", root / "collector.log"
    command = [
        *(*before, *_command(root, apps), "--workers", str(workers)),
        *("--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics_port}"),
        *options,
    ]
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=root,
        )
    collector = RunningCollector(port, metrics_port, spool, sink, log, process, tls)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            return collector.send(None, path="/health", query="", method="GET").status in (200, 503)
        return False

    try:
        eventually(answers, SECONDS_TO_END, log.read_text)
        yield collector
    finally:
        collector.kill()
