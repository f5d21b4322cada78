"""Records that a stream does not take whole are cut, and nothing of them is lost."""

import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream_dagster.collector.sinks.records import SMALL_BYTES, cut
from tests.collector.sinks.segments import record

SPACES = st.text(" \n\r\t", max_size=2)
NUMBERS = st.sampled_from(["1", "1.10", "-0", "1e400", "123456789012345678901234567890"])
TEXTS = st.one_of(
    NUMBERS,
    st.text().map(json.dumps),
    st.text().map(lambda text: json.dumps({text: [text, "],["]}, ensure_ascii=False)),
)


def data_of(one: bytes) -> str:
    return json.loads(one)["data"]


@given(st.lists(st.tuples(SPACES, TEXTS, SPACES), min_size=2, max_size=9), SPACES)
def test_events_are_divided_as_they_are_written(events, space):
    body = space + "[" + ",".join("".join(event) for event in events) + "]" + space
    whole = record(7, body)
    halves = cut(whole)
    assert len(halves) == 2
    parts = [data_of(half)[1:-1] for half in halves]
    assert ",".join(parts) == ",".join(text for _, text, _ in events)
    for half in halves:
        assert {**json.loads(half), "data": ""} == {**json.loads(whole), "data": ""}


@pytest.mark.parametrize(
    "body",
    [
        '[{"event_type": "one"}]',
        "[]",
        "[1, 2",
        "[1, 2] 3",
        "[1 2]",
        '{"a": [1, 2]}',
        "",
        "\x01\x02",
        "[" * 100_000 + "1, 2",
        f"[{'1,' * 20_000}1]",
        "H4sIAAAAAAAA",
    ],
)
def test_anything_else_goes_in_pieces_that_make_it_whole_again(body):
    pieces = [json.loads(piece) for piece in cut(record(7, body))]
    assert [piece["piece"] for piece in pieces] == list(range(1, pieces[0]["pieces"] + 1))
    assert {piece["rid"] for piece in pieces} == {json.loads(record(7))["rid"]}
    joined = b"".join(base64.b64decode(piece["gzip"]) for piece in pieces)
    assert gzip.decompress(joined) == record(7, body)


def test_a_line_that_is_no_record_goes_in_pieces_too():
    (piece,) = cut(b"no json")
    assert gzip.decompress(base64.b64decode(json.loads(piece)["gzip"])) == b"no json"


def test_a_piece_is_small(noise):
    pieces = cut(record(7, noise(5_000_000)))
    assert len(pieces) > 5
    assert max(map(len, pieces)) <= SMALL_BYTES
