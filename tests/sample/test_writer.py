"""Raw files are what the collector's sink writes, and the same on every run."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clickstream_dagster.sample import writer
from clickstream_dagster.sample.generator import generate
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.requests import RawRequest
from clickstream_dagster.sample.writer import OutputError, write_files

PLAN = TrafficPlan(events=3000, days=2, seed=5)
KEY = re.compile(
    r"year=2026/month=01/day=0[67]/hour=\d\d/(\d{10})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"\.log\.gz"
)
# fmt: off
FIELDS = [
    "date", "ip", "ua", "uri", "method", "rid", "platform", "appId", "compression", "data",
    "ingest_time", "server_ingest_time", "path", "source_type", "timestamp", "client_timestamp",
]
# fmt: on


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def lines(directory: Path) -> list[dict]:
    files = sorted(contents(directory).items())
    return [json.loads(line) for _, data in files for line in gzip.decompress(data).splitlines()]


def test_the_same_plan_writes_the_same_bytes_and_again_over_them(tmp_path: Path) -> None:
    first = write_files(generate(PLAN), tmp_path / "a")
    write_files(generate(PLAN), tmp_path / "b")
    written = contents(tmp_path / "a")
    assert written == contents(tmp_path / "b")
    assert (first.files, first.bytes) == (len(written), sum(map(len, written.values())))
    assert write_files(generate(PLAN), tmp_path / "a") == first
    assert contents(tmp_path / "a") == written


def test_files_lie_under_the_hour_of_their_requests(tmp_path: Path) -> None:
    write_files(generate(PLAN), tmp_path)
    for key, data in contents(tmp_path).items():
        seconds = int(KEY.fullmatch(key).group(1))
        times = [json.loads(line)["ingest_time"] for line in gzip.decompress(data).splitlines()]
        assert max(times) // 1000 == seconds
        assert min(times) // 3_600_000 == max(times) // 3_600_000 == seconds // 3600
        assert data[4:8] == bytes(4), "the time of writing is not in the file"


def test_a_line_is_the_record_of_one_request(tmp_path: Path) -> None:
    requests = list(generate(PLAN))
    write_files(requests, tmp_path)
    records = lines(tmp_path)
    assert [record["rid"] for record in records] == [request.rid for request in requests]
    record, request = records[0], requests[0]
    assert list(record) == FIELDS
    assert record["data"] == request.body
    assert record["ingest_time"] == request.ingest_ms
    assert record["date"].startswith("2026-01-06T00:")
    assert (record["method"], record["source_type"]) == ("POST", "http_server")


def test_a_shorter_flush_writes_more_files_with_the_same_lines(tmp_path: Path) -> None:
    hourly = write_files(generate(PLAN), tmp_path / "hourly")
    often = write_files(generate(PLAN), tmp_path / "often", flush_seconds=300)
    assert often.files > 5 * hourly.files
    assert lines(tmp_path / "often") == lines(tmp_path / "hourly")


def test_a_full_file_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_FILE_BYTES", 20_000)
    write_files(generate(PLAN), tmp_path)
    sizes = [len(gzip.decompress(data)) for data in contents(tmp_path).values()]
    assert max(sizes) > 20_000
    assert len(sizes) > 100
    assert len(lines(tmp_path)) == len(list(generate(PLAN)))


def test_an_interrupted_run_leaves_whole_files_only(tmp_path: Path) -> None:
    def interrupted() -> Iterator[RawRequest]:
        for number, request in enumerate(generate(PLAN)):
            if number == 200:
                raise KeyboardInterrupt
            yield request

    with pytest.raises(KeyboardInterrupt):
        write_files(interrupted(), tmp_path)
    assert all(KEY.fullmatch(key) for key in contents(tmp_path))
    assert 0 < len(lines(tmp_path)) < 200


def test_a_file_in_the_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out is a file"):
        write_files(generate(PLAN), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
