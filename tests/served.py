"""Servers that tests start as a user would: a process of their own, on a free port."""

import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS_TO_START = 120
_SECONDS_BETWEEN_LOOKS = 0.1


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def served_dagster(
    command: Sequence[str | Path], environment: Mapping[str, str], directory: Path
) -> Iterator[str]:
    """Give the address of a Dagster while a command runs that takes `--port`.

    What it prints goes to `server.log` in the directory that it is started in.
    """
    port = free_port()
    log = directory / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*(str(part) for part in command), "--port", str(port)],
            env=environment,
            cwd=directory,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{address}/server_info", timeout=5).read()
            return True
        return False

    try:
        eventually(answers, SECONDS_TO_START, log.read_text)
        yield address
    finally:
        _end_session(process)


@contextmanager
def in_a_thread(server: socketserver.BaseServer) -> Iterator[str]:
    """Serve in a thread of this process for the length of a block; give the address."""
    with server:
        # The pause is how long the end of a server without requests takes.
        thread = threading.Thread(
            target=server.serve_forever, args=(_SECONDS_BETWEEN_LOOKS,), daemon=True
        )
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def eventually(
    holds: Callable[[], object], seconds: float, tell: Callable[[], object] = lambda: ""
) -> None:
    """Wait until something holds; after `seconds` fail with what `tell` gives."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds} s: {tell()}"
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _end_session(process: subprocess.Popen) -> None:
    """End UI, daemon and code server: the processes of the session that was started."""
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
