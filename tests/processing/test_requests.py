"""Raw objects and sink records are read whole, bounded, and nothing of them vanishes."""

import base64
import gzip
import io
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream_dagster.batches.objects import RawObject, list_objects
from clickstream_dagster.errors import SourceError
from clickstream_dagster.processing import records, requests
from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.records import BrokenObjectError, read_lines
from clickstream_dagster.processing.requests import (
    BadBodyError,
    ReadTally,
    decode_body,
    envelope,
    read_requests,
    requests_of,
)
from tests.processing.records_input import NOW_MS, event, packed, plain, record, write_object


def read(path: Path) -> list[dict]:
    raw = RawObject(str(path), path.stat().st_size, NOW_MS, "")
    return [row for batch in read_requests([raw], ReadTally()) for row in batch.to_pylist()]


def collect(data: bytes, into: list[bytes]) -> None:
    for lines in read_lines(io.BytesIO(data)):
        into += [line.strip() for line in lines.to_pylist() if line.strip()]


def lines_of(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    collect(data, found)
    return found


def test_lines_of_several_gzip_members_and_of_plain_text_are_read() -> None:
    text = b"one\n\n \r\n  two \nthree"
    assert lines_of(text) == [b"one", b"two", b"three"]
    twice = gzip.compress(text + b"\n") + gzip.compress(text)
    assert lines_of(twice) == [b"one", b"two", b"three"] * 2


@pytest.mark.parametrize("chunk", [2, 3, 1 << 20])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_byte_order_mark_is_no_part_of_the_first_line(
    chunk: int, pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_CHUNK", chunk)
    mark = b"\xef\xbb\xbf"
    assert lines_of(pack(mark + b"one\ntwo" + mark)) == [b"one", b"two" + mark]
    assert lines_of(pack(mark)) == []
    assert lines_of(pack(mark[:2])) == [mark[:2]]


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    blank = [b"", b" ", b"\t \r", b"\v\f", b" " * 6]
    short = [b"x", b"  \xff", b" {}   "]
    lines = [*blank, *short, *blank, b"y"]
    path = write_object(tmp_path / "a.gz", lines)
    rows = read(path)
    assert [row["record"].strip(b"\n") for row in rows] == [*short, b"y"]
    assert [row["source_line"] for row in rows] == [6, 7, 8, len(lines)]


def test_millions_of_blank_lines_cost_little() -> None:
    lines = pa.array([b"\n"] * 3_000_000)
    started = time.process_time()
    kept = requests._without_blank(lines, RawObject("a", 0, 0, ""), 1)
    assert time.process_time() - started < 1
    assert (len(kept.records), len(kept.numbers)) == (0, 0)


@pytest.mark.parametrize("size", [1 << 20, 3 << 20, (3 << 20) + 1])
def test_output_that_ends_at_the_border_of_a_chunk_is_whole(size: int) -> None:
    text = b"a" * (size - 1) + b"\n"
    assert lines_of(gzip.compress(text, 9)) == [text.strip()]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
def test_a_cut_object_gives_its_whole_lines_and_then_says_so(share: float) -> None:
    lines = [json.dumps({"n": n, "x": str(n * 7919)}).encode() for n in range(5_000)]
    data = gzip.compress(b"\n".join(lines))
    whole: list[bytes] = []
    with pytest.raises(BrokenObjectError, match="ends in the middle"):
        collect(data[: int(len(data) * share)], whole)
    assert whole
    assert whole == lines[: len(whole)]


def test_a_line_that_is_too_long_is_cut_and_the_rest_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 100_000)
    bomb = gzip.compress(b"one\n" + b"a" * 50_000_000 + b"\nthree\nfour")
    assert lines_of(bomb) == [b"one", b"a" * 100_000, b"three", b"four"]


def test_members_that_meet_at_the_border_of_a_chunk_are_both_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = gzip.compress(b"one\n"), gzip.compress(b"two\n")
    for chunk in range(len(first) - 2, len(first) + 4):
        monkeypatch.setattr(records, "_CHUNK", chunk)
        assert lines_of(first + second + b"\0" * 50) == [b"one", b"two"]


@pytest.mark.parametrize("place", [-6, -1, "middle"])
def test_a_flipped_byte_costs_no_line_before_it(place: int | str) -> None:
    lines = [json.dumps({"n": n, "x": str(n * 7919)}).encode() for n in range(5_000)]
    data = bytearray(gzip.compress(b"\n".join(lines) + b"\n"))
    data[len(data) // 2 if place == "middle" else place] ^= 0x55
    whole: list[bytes] = []
    with pytest.raises(BrokenObjectError, match="damaged"):
        collect(bytes(data), whole)
    if place != "middle":
        assert whole == lines
    assert len(whole) > 2_000
    assert whole[:2_000] == lines[:2_000]


def test_bodies_that_unpack_to_much_are_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_UNPACKED_BYTES", 1_500)
    sent = [record(packed(event(f"e{n}")), rid=f"r{n}") for n in range(20)]
    sent.insert(7, record(plain(event("plain")), rid="plain"))
    path = write_object(tmp_path / "a.gz", sent)
    batches = list(read_requests([RawObject(str(path), 1, NOW_MS, "")], ReadTally()))
    assert len(batches) > 2
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["request_id"] for row in rows] == [one["rid"] for one in sent]
    assert [row["source_line"] for row in rows] == list(range(1, 22))
    for row in rows:
        assert row["bad_reason"] is None
        assert json.loads(row["record"])["rid"] == row["request_id"]
        assert len(json.loads(row["body"])) == 1


def test_an_object_that_is_gone_is_named() -> None:
    with pytest.raises(SourceError, match=r"/nowhere/x\.log\.gz can't be read"):
        list(read_requests([RawObject("/nowhere/x.log.gz", 1, NOW_MS, "")], ReadTally()))


@pytest.mark.parametrize("added", [b"{}\n", b'{"data": "half a li'])
def test_a_file_that_grows_while_it_is_read_is_named(tmp_path: Path, added: bytes) -> None:
    path = tmp_path / "grows.log"
    path.write_bytes(json.dumps(record(plain(event(note="n" * 1_000_000)))).encode() + b"\n")
    with path.open("ab") as file:
        file.write(path.read_bytes() * 19)
    (raw,) = list_objects(str(tmp_path))
    batches = read_requests([raw], ReadTally())
    next(batches)
    with path.open("ab") as file:
        file.write(added)
    with pytest.raises(SourceError, match=r"grows\.log has been written again"):
        list(batches)


@pytest.mark.parametrize("pack", [plain, packed])
def test_a_body_is_decoded_by_looking_at_it(pack: object) -> None:
    assert json.loads(decode_body(pack(event()))) == [event()]


@pytest.mark.parametrize("events", [1, 2, 3])
def test_base64_is_read_in_lines_and_without_its_padding(events: int) -> None:
    text = plain(*(event("x" * place) for place in range(events)))
    packed_text = base64.encodebytes(gzip.compress(text.encode())).decode()
    for body in (packed_text, packed_text.replace("\n", "\r\n"), packed_text.rstrip("=\n")):
        assert decode_body(body) == text
    for cut in range(4):
        bare = base64.b64encode(f"[{' ' * cut}]".encode()).decode().rstrip("=")
        assert decode_body(bare) == f"[{' ' * cut}]"


def test_a_single_object_and_a_byte_order_mark_are_taken() -> None:
    assert decode_body('\ufeff {"a": 1}\n') == '[{"a": 1}]'


def test_a_byte_order_mark_behind_a_body_is_no_part_of_json_however_it_is_packed() -> None:
    text = plain(event()) + "\ufeff"
    assert decode_body(text) == text
    assert decode_body(base64.b64encode(text.encode()).decode()) == text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, BadReason.MISSING_BODY),
        ("  \n", BadReason.MISSING_BODY),
        ("hello, world", BadReason.UNDECODABLE_BODY),
        (packed(event())[:-20], BadReason.UNDECODABLE_BODY),
        (packed(event())[:33], BadReason.UNDECODABLE_BODY),
        (f"{packed(event())[:40]}!\n{packed(event())[40:]}", BadReason.UNDECODABLE_BODY),
    ],
)
def test_a_body_that_can_not_be_decoded_has_a_reason(body: str, reason: BadReason) -> None:
    with pytest.raises(BadBodyError) as bad:
        decode_body(body)
    assert bad.value.reason == reason


def test_a_body_of_several_gzip_members_is_read_whole() -> None:
    text = plain(event("a"), event("b"))
    members = gzip.compress(text[:100].encode()) + gzip.compress(text[100:].encode())
    assert decode_body(base64.b64encode(members).decode()) == text
    with pytest.raises(BadBodyError, match="foreign bytes") as bad:
        decode_body(base64.b64encode(members + b"garbage").decode())
    assert bad.value.reason == BadReason.UNDECODABLE_BODY
    half = gzip.compress(b"[" + b" " * (20 << 20))
    with pytest.raises(BadBodyError) as bad:
        decode_body(base64.b64encode(half + half).decode())
    assert bad.value.reason == BadReason.BODY_TOO_LARGE


def test_a_decompression_bomb_is_refused() -> None:
    bomb = base64.b64encode(gzip.compress(b"[" + b" " * (65 << 20) + b"]")).decode()
    with pytest.raises(BadBodyError) as bad:
        decode_body(bomb)
    assert bad.value.reason == BadReason.BODY_TOO_LARGE


def test_a_record_gives_its_envelope(tmp_path: Path) -> None:
    path = write_object(
        tmp_path / "a.gz",
        [
            record(
                plain(event()),
                uri="/collect?appId=shop&upload_timestamp=123&event_bundle_sequence_id=42&x=1",
            )
        ],
    )
    (row,) = read(path)
    assert row["request_id"] == "request-1"
    assert row["ingest_timestamp"] == NOW_MS + 1_000
    assert row["event_bundle_sequence_id"] == 42
    assert row["upload_timestamp"] == 123
    assert row["request_app_id"] == "shop"
    assert row["bad_reason"] is None
    assert (row["source_object"], row["source_line"]) == (str(path), 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ingest_time": None, "server_ingest_time": 1_600_000_000_000}, 1_600_000_000_000),
        ({"ingest_time": 10**18}, NOW_MS),
        ({"ingest_time": None, "timestamp": "2023-04-24T06:51:49"}, 1_682_319_109_000),
        ({"ingest_time": "1700000000123"}, 1_700_000_000_123),
        ({"ingest_time": None, "timestamp": "2023-04-24T06:51:49.403Z"}, 1_682_319_109_403),
        ({"ingest_time": None, "date": "2023-04-24T06:51:49+00:00"}, 1_682_319_109_000),
        ({"ingest_time": None}, NOW_MS),
    ],
)
def test_the_time_of_arrival_is_found_where_the_record_has_it(
    tmp_path: Path, fields: dict, expected: int
) -> None:
    (row,) = read(write_object(tmp_path / "a.gz", [record(plain(event()), **fields)]))
    assert row["ingest_timestamp"] == expected


def test_lines_that_are_no_records_are_bad_rows_with_their_bytes(tmp_path: Path) -> None:
    lines = [b"not json", b'"text"', b"[1]", b"\xff\xfe", json.dumps(record(None)).encode()]
    rows = read(write_object(tmp_path / "a.gz", lines))
    assert [row["bad_reason"] for row in rows] == ["not_a_record"] * 4 + ["missing_body"]
    assert [row["record"].strip() for row in rows] == lines


def test_a_foreign_file_and_a_cut_one_end_in_one_bad_row(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.gz"
    foreign.write_bytes(b"PK\x03\x04 a zip file")
    assert [row["bad_reason"] for row in read(foreign)] == ["not_a_record"]
    whole = write_object(tmp_path / "whole.gz", [record(plain(event()))] * 3)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole.read_bytes()[:-9])
    rows = sorted(read(cut), key=lambda row: row["source_line"])
    assert [row["bad_reason"] for row in rows] == [None, None, None, "broken_object"]


def test_an_envelope_is_the_record_without_its_body() -> None:
    given = json.loads(envelope(json.dumps(record("x" * 100)).encode()))
    assert "data" not in given
    assert given["rid"] == "request-1"
    odd = b'{"rid": "r", "ua": "half \\ud800", "n": NaN, "data": "x"}'
    assert envelope(odd) == '{"rid":"r","ua":"half \\ud800","n":NaN}'
    assert len(envelope(json.dumps(record("x", ua="u" * 100_000)).encode())) == 16_384
    assert envelope(b"no json") is None
    assert envelope(b"[1]") is None


def test_what_a_request_repeats_for_its_events_is_bounded(tmp_path: Path) -> None:
    (row,) = read(write_object(tmp_path / "a.gz", [record(plain(event()), ua="名" * 10_000)]))
    assert row["user_agent"] == "名" * 4_096


def test_what_becomes_a_column_of_its_events_is_as_short_as_their_own(tmp_path: Path) -> None:
    sent = record(plain(event()), rid="r" * 2_000, platform="名" * 2_000)
    (row,) = read(write_object(tmp_path / "a.gz", [sent]))
    assert (row["request_id"], row["platform"]) == ("r" * 1_024, "名" * 1_024)


@pytest.mark.parametrize(
    "word", ["null", "true", "false", "5", "1234", "-1.5e+3", '"text"', '"\n"']
)
def test_a_lone_value_of_json_is_not_taken_for_base64(word: str) -> None:
    assert decode_body(word) == word


@settings(deadline=None)
@given(
    st.sampled_from(
        ['[{"a":1}]', "[]", '["é"]', "[\x00]", '{"a":1}', " [1]", "[1] \n", "[1", "", "text"]
    ),
    st.sampled_from([b"", b"\0\0", b"more", gzip.compress(b"[2]")]),
    st.booleans(),
    st.integers(-3, 0),
)
def test_a_packed_body_is_read_in_a_batch_as_it_is_alone(
    text: str, behind: bytes, in_lines: bool, cut: int
) -> None:
    """What SDKs mostly write is unpacked in a shorter way, which must not make a difference."""
    packed_bytes = gzip.compress(text.encode(), mtime=0) + behind
    encode = base64.encodebytes if in_lines else base64.b64encode
    body = encode(packed_bytes).decode()
    body = body[: len(body) + cut]
    line = json.dumps({"rid": "r1", "data": body}).encode()
    place = np.array([1])
    (request,) = requests_of(pa.array([line]), pa.array(["o"]), place, place)
    found = request.column("body")[0].as_py()
    try:
        expected, reason = decode_body(body), None
    except BadBodyError as error:
        expected, reason = None, error.reason
    assert (found and found.rstrip(), request.column("bad_reason")[0].as_py()) == (
        expected and expected.rstrip(),
        reason,
    )
