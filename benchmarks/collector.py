"""`make bench-collector`: requests a second of the collector, and of nginx that answers a bare 200.

wrk sends bodies of ten events, gzip in base64 as the mobile SDKs do, from the same cores. The two
servers take turns in one run. Needs `nginx` and `wrk` (Debian's packages).
"""

import argparse
import gzip
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.measure import tree_bytes
from clickstream_dagster.processing.requests import decode_body
from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import CLEAN, TrafficPlan
from clickstream_dagster.sample.requests import encode

EVENTS_A_BODY = 10
BODIES = 200
APP = "demo_mobile"
QUERY = (
    f"platform=Android&appId={APP}&hashCode=0a1b2c3d&event_bundle_sequence_id=7"
    "&upload_timestamp=1767225600000&compression=gzip"
)
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
_SIZES = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: requests a second, latencies in ms, answers that were not 2xx or 3xx."""

    rate: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


@dataclass(frozen=True, slots=True)
class Running:
    """A collector: its port, that of its metrics, its main process, and its sink."""

    port: int
    metrics_port: int
    pid: int
    sink: Path

    def metric(self, name: str) -> float:
        """Give a metric, summed over its labels."""
        address = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        pattern = rf"(?m)^clickstream_collector_{name}(?:{{[^}}]*}})? (\S+)"
        return sum(float(value) for value in re.findall(pattern, text))

    def acknowledged(self) -> int:
        """Give the requests that have been answered."""
        time.sleep(1.5)  # workers publish once a second
        return int(self.metric("requests_total"))

    def shipped(self) -> int:
        """Give the records in the sink."""
        return sum(
            gzip.decompress(file.read_bytes()).count(b"\n") for file in self.sink.rglob("*.gz")
        )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--soak-minutes", type=float, default=0, help="instead: one long turn")
    options = parser.parse_args()
    for program in ("nginx", "wrk"):
        if not shutil.which(program, path=_PATH):
            sys.exit(f"{program} is missing: apt-get install {program}")
    console = Console(width=100)
    # On the disk of the checkout: a temporary directory may be in memory.
    with tempfile.TemporaryDirectory(prefix="bench-collector-", dir=Path.cwd()) as folder:
        script = _wrk_script(Path(folder))
        if options.soak_minutes:
            _soak(console, Path(folder), script, options)
        else:
            _compare(console, Path(folder), script, options)
    console.print(f"load before: {os.getloadavg()[2]:.1f}")


def _compare(console: Console, root: Path, script: Path, options: argparse.Namespace) -> None:
    table = Table(title=f"Bodies of {EVENTS_A_BODY} events, sync always, {options.workers} workers")
    for name in ("server", "connections", "requests/s", "events/s", "p50 ms", "p99 ms", "of nginx"):
        table.add_column(name, justify="left" if name == "server" else "right")
    with _collector(root, options.workers) as it, _nginx(root, options.workers) as bare:
        for connections in options.connections:
            turns: dict[str, list[Load]] = {"collector": [], "nginx": []}
            for turn in range(options.turns):
                for name, at in (("collector", it.port), ("nginx", bare)):
                    with console.status(f"{name}, {connections} connections, turn {turn + 1}"):
                        turns[name].append(_wrk(at, script, connections, options.seconds))
            limit = statistics.median(load.rate for load in turns["nginx"])
            for name, loads in turns.items():
                rate = statistics.median(load.rate for load in loads)
                table.add_row(
                    name,
                    str(connections),
                    f"{rate:,.0f}",
                    f"{rate * EVENTS_A_BODY:,.0f}" if name == "collector" else "",
                    f"{statistics.median(load.p50_ms for load in loads):.1f}",
                    f"{statistics.median(load.p99_ms for load in loads):.1f}",
                    f"{rate / limit:.2f}",
                )
            failed = sum(load.refused + load.broken for load in turns["collector"])
            if failed:
                console.print(f"[red]{failed} requests to the collector failed")
        acknowledged = it.acknowledged()
    console.print(table)
    console.print(f"acknowledged {acknowledged:,}, in the sink {it.shipped():,}")


def _soak(console: Console, root: Path, script: Path, options: argparse.Namespace) -> None:
    table = Table(title=f"{options.soak_minutes:g} minutes of load")
    for name in ("minute", "memory MiB", "log MB", "acknowledged"):
        table.add_column(name, justify="right")
    seconds = int(options.soak_minutes * 60)
    with _collector(root, options.workers) as it:
        load = _start_wrk(it.port, script, options.connections[-1], seconds)
        started = time.monotonic()
        while load.poll() is None:
            minute = (time.monotonic() - started) / 60
            with console.status(f"minute {minute:.1f} of {options.soak_minutes:g}"):
                table.add_row(
                    f"{minute:.1f}",
                    f"{tree_bytes(it.pid) / 2**20:,.0f}",
                    f"{it.metric('log_bytes') / 1e6:,.1f}",
                    f"{it.acknowledged():,}",
                )
                with suppress(subprocess.TimeoutExpired):
                    load.wait(seconds / 10)
        seen = _read_wrk(load.communicate()[0])
        acknowledged = it.acknowledged()
    console.print(table)
    console.print(
        f"{seen.rate:,.0f} requests/s, p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms, "
        f"{seen.refused} refused, {seen.broken} broken or later than 2 s; "
        f"acknowledged {acknowledged:,}, "
        f"in the sink {it.shipped():,}"
    )


@contextmanager
def _collector(root: Path, workers: int) -> Iterator[Running]:
    port, metrics_port = _free_port(), _free_port()
    command = [
        *(str(Path(sys.executable).with_name("clickstream")), "collector"),
        *("--project-id", "demo", "--app-id", APP, "--workers", str(workers)),
        *("--spool", str(root / "spool"), "--sink", str(root / "raw")),
        *("--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics_port}"),
    ]
    with (root / "collector.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60):
            pass  # its first worker has started
        yield Running(port, metrics_port, process.pid, root / "raw")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


@contextmanager
def _nginx(root: Path, workers: int) -> Iterator[int]:
    port = _free_port()
    paths = "".join(
        f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi")
    )
    config = root / "nginx.conf"
    config.write_text(
        f"worker_processes {workers}; daemon off; pid {root}/nginx.pid; error_log stderr crit;"
        "events { worker_connections 8192; } http { access_log off; keepalive_requests 100000000;"
        f"{paths} uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;"
        f"server {{ listen 127.0.0.1:{port} reuseport; location / {{ return 200; }} }} }}"
    )
    nginx = shutil.which("nginx", path=_PATH)
    process = subprocess.Popen([nginx, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _wrk(port: int, script: Path, connections: int, seconds: int) -> Load:
    process = _start_wrk(port, script, connections, seconds)
    return _read_wrk(process.communicate()[0])


def _start_wrk(port: int, script: Path, connections: int, seconds: int) -> subprocess.Popen:
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    address = f"http://127.0.0.1:{port}/collect?{QUERY}"
    return subprocess.Popen([*command, address], stdout=subprocess.PIPE, text=True)


def _read_wrk(text: str) -> Load:
    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return float(found[1]) * (_SIZES[found[2]] if found.lastindex == 2 else 1) if found else 0

    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    return Load(
        rate=number(r"Requests/sec:\s+([\d.]+)"),
        p50_ms=number(r"50%\s+([\d.]+)(us|ms|s|m)\b"),
        p99_ms=number(r"99%\s+([\d.]+)(us|ms|s|m)\b"),
        refused=int(number(r"Non-2xx or 3xx responses: (\d+)")),
        broken=sum(int(count) for count in errors.groups()) if errors else 0,
    )


def _wrk_script(root: Path) -> Path:
    lines = [
        "wrk.method = 'POST'",
        "wrk.headers['Content-Type'] = 'application/json; charset=utf-8'",
        "wrk.headers['User-Agent'] = 'aws-solution-clickstream-sdk/Android 0.14.0'",
        "local bodies = {",
        *(f"  {json.dumps(body)}," for body in _bodies()),
        "}",
        "local n = 0",
        "request = function() n = n % #bodies + 1; return wrk.format(nil, nil, nil, bodies[n]) end",
    ]
    script = root / "load.lua"
    script.write_text("\n".join(lines))
    return script


def _bodies() -> Sequence[str]:
    plan = TrafficPlan(
        events=BODIES * EVENTS_A_BODY * 3,
        days=1,
        seed=1,
        project_id="demo",
        app_ids=(APP,),
        end=datetime(2026, 1, 1, tzinfo=UTC),
        shares=CLEAN,
    )
    events = [
        event for request in generate(plan) for event in orjson.loads(decode_body(request.body))
    ]
    return [
        encode(events[first : first + EVENTS_A_BODY], "Android")
        for first in range(0, BODIES * EVENTS_A_BODY, EVENTS_A_BODY)
    ]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
