"""`clickstream demo --live`: what is sent is in the views within a minute, Ctrl-C ends all."""

import gzip
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from tests.served import eventually, free_port

pytestmark = pytest.mark.heavy

CLICKSTREAM = str(Path(sys.executable).with_name("clickstream"))
SECONDS_TO_SHOW = 60
SECONDS_TO_START = 180
SECONDS_TO_END = 120
SECONDS_FOR_CHILDREN = 5


@contextmanager
def live_demo(root: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run the demo in a directory; what it prints goes to `live.out` there."""
    environment = {**os.environ, "CLICKSTREAM_ROOT": str(root)}
    with (root / "live.out").open("a") as output:
        process = subprocess.Popen(
            [CLICKSTREAM, "demo", "--live", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in processes_of(root):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        if process.poll() is None:
            process.kill()
        process.wait()


def processes_of(root: Path) -> list[int]:
    """Give the processes that have a directory in their command or in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if str(root).encode() in told and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def assert_all_end(root: Path) -> None:
    """Wait for what ends with its parent, a moment after it."""

    def commands() -> list[bytes]:
        found = []
        for number in processes_of(root):
            with suppress(OSError):
                found.append(Path(f"/proc/{number}/cmdline").read_bytes())
        return found

    eventually(lambda: not processes_of(root), SECONDS_FOR_CHILDREN, commands)


def turns(root: Path) -> list[int]:
    """Give the numbers of the turns that the demo has told of.

    A turn that came to the warehouse while a test was reading it is told of in words.
    """
    told = r"(?m)^(?:\d\d:\d\d:\d\d +(\d+) |turn (\d+) is in the lake)"
    return [int(one or other) for one, other in re.findall(told, (root / "live.out").read_text())]


def interrupt(process: subprocess.Popen[str]) -> int:
    """Do what Ctrl-C in a terminal does; give the exit code."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(SECONDS_TO_END)


def send_session(port: int) -> str:
    """Send the first event of a session; give the session's id."""
    now, user = time.time_ns() // 1_000_000, str(uuid.uuid4())
    session = f"{user[-8:]}-{now}"
    event = {
        "event_type": "_session_start",
        "event_id": str(uuid.uuid4()),
        "unique_id": user,
        "app_id": "live_web",
        "timestamp": now,
        "platform": "Web",
        "attributes": {
            "_session_id": session,
            "_session_start_timestamp": now,
            "_session_duration": 0,
            "_session_number": 1,
        },
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/collect?platform=Web&appId=live_web", json.dumps([event]))
    assert connection.getresponse().status == 200
    connection.close()
    return session


def warehouse_of(root: Path) -> Path:
    """Give the demo's DuckDB file."""
    return root / "data" / "live" / "warehouse.duckdb"


def seconds_until_shown(root: Path, session: str) -> float:
    """Wait until a session is in the session view; give how long that took."""
    started = time.monotonic()

    def shown() -> bool:
        with (
            suppress(duckdb.Error),  # another process is writing
            duckdb.connect(str(warehouse_of(root)), read_only=True) as connection,
        ):
            query = "select count(*) from live.clickstream_session_view where session_id = ?"
            return connection.execute(query, [session]).fetchone() == (1,)
        return False

    eventually(shown, SECONDS_TO_SHOW, (root / "live.out").read_text)
    return time.monotonic() - started


def test_an_event_is_in_the_session_view_within_a_minute_and_a_second_run_goes_on(
    tmp_path: Path, record_property
) -> None:
    port = free_port()
    with live_demo(tmp_path, port) as demo:
        eventually(
            lambda: demo.poll() is not None or turns(tmp_path),
            SECONDS_TO_START,
            (tmp_path / "live.out").read_text,
        )
        session = send_session(port)
        seconds = seconds_until_shown(tmp_path, session)
        with duckdb.connect(str(warehouse_of(tmp_path)), read_only=True):
            session = send_session(port)
            eventually(
                lambda: "the next one builds its models" in (tmp_path / "live.out").read_text(),
                SECONDS_TO_SHOW,
            )
        seconds_until_shown(tmp_path, session)
        record_property("seconds_until_shown", round(seconds, 1))
        print(f"in the session view after {seconds:.1f} s")
        assert interrupt(demo) == 0
        assert_all_end(tmp_path)
    before = turns(tmp_path)
    assert before == sorted(set(before))

    with live_demo(tmp_path, port) as demo:
        later = send_when_up(port, demo)
        seconds_until_shown(tmp_path, later)
        assert seconds_until_shown(tmp_path, session) < SECONDS_TO_SHOW
        assert interrupt(demo) == 0
        assert_all_end(tmp_path)
    # The turn that was the last is taken once more, in case that it had been cut short.
    again = turns(tmp_path)[len(before) :]
    assert again[0] in (before[-1], before[-1] + 1)
    assert again == list(range(again[0], again[0] + len(again)))


def send_when_up(port: int, demo: subprocess.Popen[str]) -> str:
    """Send a session as soon as the collector takes it; give its id."""
    sent: list[str] = []

    def is_sent() -> bool:
        assert demo.poll() is None
        with suppress(OSError):
            sent.append(send_session(port))
        return bool(sent)

    eventually(is_sent, SECONDS_TO_START)
    return sent[0]


def test_a_demo_that_is_killed_takes_its_collector_with_it(tmp_path: Path) -> None:
    port = free_port()
    with live_demo(tmp_path, port) as demo:
        session = send_when_up(port, demo)
        demo.kill()
        assert_all_end(tmp_path)
    raw = (tmp_path / "data" / "live" / "raw").rglob("*.log.gz")
    assert any(session.encode() in gzip.decompress(file.read_bytes()) for file in raw)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with live_demo(tmp_path, port) as demo:
            assert demo.wait(SECONDS_TO_START) == 1
    assert f"Error: port {port} is taken" in (tmp_path / "live.out").read_text()
