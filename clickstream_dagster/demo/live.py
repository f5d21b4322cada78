"""The live demo: a collector, a shop's traffic in real time, and turn after turn into the views.

What Dagster's arrival sensor does for a project every few minutes is done here without pause, with
the same functions: new raw files are one batch, and the models follow.
"""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from clickstream_dagster import deployment
from clickstream_dagster.demo.progress import terminal_to
from clickstream_dagster.demo.raw_files import NewRawFiles
from clickstream_dagster.errors import ClickstreamError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from clickstream_dagster.batches.objects import RawObject
    from clickstream_dagster.sample.plan import TrafficPlan
    from clickstream_dagster.sample.requests import RawRequest

PROJECT = "live"
APPS = ("live_web", "live_mobile")
EVENTS_A_DAY = 400_000
SEGMENT_SECONDS = 2
_SECONDS_TO_START = 60
_SECONDS_TO_DRAIN = 60
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_READ = 3.0
"""Between turns: while the models are built, DuckDB lets nobody else have the file."""

_LINE = "{:8} {:>5} {:>8} {:>8} {:>11} {:>8} {:>7} {:>9} {:>7}"
_HEAD = ("time", "turn", "events", "written", "processing", "models", "age", "sessions", "users")
_TOLD = f"""
    select
        (select count(*) from {PROJECT}.clickstream_session_view),
        (select count(*) from {PROJECT}.clickstream_user_dim_view)
"""


class LiveError(ClickstreamError):
    """The live demo can't start or go on; the message says why."""


@dataclass(frozen=True, slots=True)
class LivePlaces:
    """Where the live demo keeps what it makes; all of it outlives the demo."""

    root: Path

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    @property
    def turns(self) -> Path:
        return self.root / "turns"

    @property
    def collector_log(self) -> Path:
        return self.root / "collector.log"

    @property
    def log(self) -> Path:
        return self.root / "live.log"


def run_live(console: Console, port: int) -> None:
    """Collect, process and model until Ctrl-C; what it cuts short, the next run does.

    Raises LiveError when the port is taken or a part of the demo ends by itself.
    """
    from clickstream_dagster.processing.engines import spark_session
    from clickstream_dagster.resources.dbt import ModelError

    places = LivePlaces(deployment.root() / "data" / "live")
    places.root.mkdir(parents=True, exist_ok=True)
    endpoint = f"http://127.0.0.1:{port}/collect"
    console.print(
        f"[bold]Live[/]: collector at {endpoint}, apps {' and '.join(APPS)}\n"
        "Ctrl-C ends it, running it again goes on\n"
        f"[dim]raw files, lake, warehouse and logs in {places.root}[/]\n\n"
        "Each turn takes what has come into the views; age is that of its first event then:\n"
        f"[bold]{_LINE.format(*_HEAD)}[/]",
        soft_wrap=True,
    )
    with (
        interruptible() as ending,
        running_collector(places, port, ending) as collector,
        sent_traffic(endpoint, ending, console),
        terminal_to(places.log),
        console.status("starting the engine") as status,
        spark_session("sail") as spark,
    ):
        turns = Turns(places, spark)
        while not ending.is_set():
            if collector.poll() is not None:
                raise LiveError(f"the collector has ended, see {places.collector_log}")
            status.update("waiting for events")
            turn = turns.next()
            if turn is None:
                ending.wait(_SECONDS_BETWEEN_LOOKS)
                continue
            status.update(f"turn {turn.number}: {len(turn.objects)} raw files into the views")
            try:
                console.print(turns.take(turn), highlight=False, soft_wrap=True)
            except ModelError as error:
                # Such as a reader that has the DuckDB file open; the next turn makes up for it.
                console.print(
                    f"turn {turn.number} is in the lake, the next one builds its models: {error}",
                    markup=False,
                    style="yellow",
                    soft_wrap=True,
                )
            except ClickstreamError:
                # Sail listens to Ctrl-C itself, and stops in the midst of a batch.
                if not ending.is_set():
                    raise
                console.print(f"turn {turn.number} was cut short; the next run takes it once more")
            status.update("the views can be read")
            ending.wait(_SECONDS_TO_READ)
    console.print(
        f"\nEnded. The views are in {places.warehouse}, schema {PROJECT}.\n"
        "Next: [bold]make demo[/] and [bold]make ui[/] show the same pipeline in Dagster, whose"
        " arrival sensor does what this loop did",
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """Raw files that are processed as one batch, and the number that names it."""

    number: int
    objects: tuple["RawObject", ...]

    @property
    def batch(self) -> str:
        return f"turn-{self.number:08}"

    def age_seconds(self) -> float:
        """Give the seconds since the first event of these files can have been sent."""
        first_ms = min((one.arrival_ms for one in self.objects), default=time.time() * 1_000)
        return time.time() - first_ms / 1_000 + SEGMENT_SECONDS


class Turns:
    """Turns raw files into rows of the views, each file in exactly one turn.

    What a turn holds is written down before it begins, so that the turn of a demo that was killed
    is taken once more with the same files under the same name, which changes nothing that it had
    done already.
    """

    def __init__(self, places: LivePlaces, spark: "SparkSession") -> None:
        self._places = places
        self._spark = spark
        self._raw_files = NewRawFiles(places.raw)
        self._waiting: list[RawObject] = []
        self._taken: set[str] = set()
        self._number = 0
        self._unfinished: list[str] = []
        places.turns.mkdir(exist_ok=True)
        for file in sorted(places.turns.glob("turn-*.json")):
            self._unfinished = json.loads(file.read_text())
            self._taken.update(self._unfinished)
            self._number = int(file.stem.removeprefix("turn-"))

    def next(self) -> Turn | None:
        """Give the next turn, None when no raw file waits."""
        self._waiting += self._raw_files.take()
        if self._unfinished:
            again = tuple(one for one in self._waiting if one.uri in self._unfinished)
            is_whole = len(again) == len(self._unfinished)
            self._unfinished = []
            if is_whole:  # without one of its files it would replace more by less
                return Turn(self._number, again)
        new = tuple(one for one in self._waiting if one.uri not in self._taken)
        self._waiting = []
        if not new:
            return None
        self._number += 1
        turn = Turn(self._number, new)
        file = self._places.turns / f"{turn.batch}.json"
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps([one.uri for one in new]))
        unfinished.rename(file)
        return turn

    def take(self, turn: Turn) -> str:
        """Process a turn and build the models; give its line. Raises ClickstreamError."""
        from clickstream_dagster.processing.job import process_batch
        from clickstream_dagster.processing.settings import BatchSettings
        from clickstream_dagster.resources.dbt import Warehouse, run_dbt

        started = time.monotonic()
        settings = BatchSettings(PROJECT, APPS, str(self._places.lake), turn.batch)
        counters = process_batch(self._spark, settings, turn.objects)
        processed = time.monotonic()
        warehouse = Warehouse(self._places.lake, PROJECT, self._places.warehouse)
        run_dbt(["run", "--quiet"], warehouse)
        modelled = time.monotonic()
        ((sessions, users),) = warehouse.query(_TOLD)
        return _LINE.format(
            f"{datetime.now():%H:%M:%S}",
            turn.number,
            f"{counters.events:,}",
            f"{counters.written:,}",
            f"{processed - started:.1f} s",
            f"{modelled - processed:.1f} s",
            f"{turn.age_seconds():.0f} s",
            f"{sessions:,}",
            f"{users:,}",
        )


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C or SIGTERM sets; the second signal interrupts at once."""
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ending.is_set():
            raise KeyboardInterrupt
        ending.set()

    before = {name: signal.signal(name, end) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ending
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def running_collector(
    places: LivePlaces, port: int, ending: threading.Event
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the collector, from its first answer on; at the end it drains into the raw files.

    Raises LiveError when the port is taken or it does not start.
    """
    if _answers(port):
        raise LiveError(
            f"port {port} is taken, maybe by another live demo: end that, or choose one with --port"
        )
    command = [
        *(str(Path(sys.executable).with_name("clickstream")), "collector"),
        *("--project-id", PROJECT, *(part for app in APPS for part in ("--app-id", app))),
        *("--spool", str(places.spool), "--sink", str(places.raw), "--workers", "1"),
        *("--listen", f"127.0.0.1:{port}", "--metrics", "off", "--origin", "*"),
        *("--segment-seconds", str(SEGMENT_SECONDS), "--log", "text", "--end-with-stdin"),
    ]
    with places.collector_log.open("w") as log:
        # In a session of its own, so that the terminal's Ctrl-C reaches the demo alone; the pipe
        # tells it when the demo is gone.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not _answers(port) and not ending.is_set():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LiveError(f"the collector did not start, see {places.collector_log}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_SECONDS_TO_DRAIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def sent_traffic(endpoint: str, ending: threading.Event, console: Console) -> Iterator[None]:
    """Send a shop's traffic to the collector at the pace of the clock, in a thread."""
    thread = threading.Thread(
        target=partial(_send, endpoint, ending, console), name="traffic", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _send(endpoint: str, ending: threading.Event, console: Console) -> None:
    from clickstream_dagster.sample.generator import generate
    from clickstream_dagster.sample.poster import PostError, post_requests

    while not ending.is_set():
        try:
            post_requests(paced(generate(traffic(datetime.now(UTC))), ending), endpoint)
        except PostError as error:
            console.print(f"[yellow]traffic:[/] {error}")
            ending.wait(_SECONDS_BETWEEN_LOOKS)


def traffic(start: datetime) -> "TrafficPlan":
    """Give a day of traffic from a moment on; another moment gives other users and events."""
    from clickstream_dagster.sample.plan import TrafficPlan

    return TrafficPlan(
        events=EVENTS_A_DAY,
        days=1,
        seed=round(start.timestamp()),
        project_id=PROJECT,
        app_ids=APPS,
        end=start + timedelta(days=1),
    )


def paced(requests: Iterable["RawRequest"], ending: threading.Event) -> Iterator["RawRequest"]:
    """Give each request when its time has come, until the end is near."""
    for request in requests:
        if ending.wait(max(0.0, request.ingest_ms / 1_000 - time.time())):
            return
        yield request
