"""Wrong clocks are corrected by the time of upload, the same way whenever a batch is processed."""

from datetime import date

import pyarrow as pa
import pytest

from clickstream_dagster.processing.clocks import correct_clocks
from clickstream_dagster.processing.events import EVENT
from tests.processing.records_input import NOW_MS

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def pair(key: str, value: int | str) -> dict:
    kind = "int_value" if isinstance(value, int) else "string_value"
    return {"key": key, "value": {kind: value}}


def row(sent: int | None, arrived: int, uploaded: int | None, **fields: object) -> dict:
    return {
        "event_timestamp": sent,
        "ingest_timestamp": arrived,
        "upload_timestamp": uploaded,
        "event_params": [],
        **fields,
    }


def correct(*rows: dict) -> list[dict]:
    batch = pa.RecordBatch.from_pylist(list(rows), schema=EVENT)
    return [one for out in correct_clocks(iter([batch])) for one in out.to_pylist()]


@pytest.mark.parametrize(
    ("sent", "arrived", "uploaded", "expected"),
    [
        # right clocks, offline for days or not
        (NOW_MS, NOW_MS + 500, NOW_MS + 100, NOW_MS),
        (NOW_MS - 2 * DAY, NOW_MS + 500, NOW_MS, NOW_MS - 2 * DAY),
        (NOW_MS, NOW_MS + HOUR, None, NOW_MS),
        # a little off
        (NOW_MS, NOW_MS - 10 * MINUTE, NOW_MS, NOW_MS),
        (NOW_MS, NOW_MS + 10 * MINUTE, NOW_MS, NOW_MS),
        # ahead and behind: the distance between event and upload stays
        (NOW_MS + DAY, NOW_MS, NOW_MS + DAY + HOUR, NOW_MS - HOUR),
        (NOW_MS - 365 * DAY, NOW_MS, NOW_MS - 364 * DAY, NOW_MS - DAY),
        (NOW_MS, NOW_MS + 10 * MINUTE + 1, NOW_MS, NOW_MS + 10 * MINUTE + 1),
        # ahead, and nobody tells by how much: a retry on a later day is still the same event
        (NOW_MS + DAY, NOW_MS, None, NOW_MS + DAY),
        (NOW_MS + DAY, NOW_MS + DAY, None, NOW_MS + DAY),
        # the clock was set back between event and upload
        (NOW_MS + DAY, NOW_MS, NOW_MS, NOW_MS + DAY),
        # the clock was set forth and back: moved, the event would be days after its arrival
        (NOW_MS, NOW_MS, NOW_MS - 90 * DAY, NOW_MS),
        # an upload time that can't be
        (NOW_MS, NOW_MS, 5, NOW_MS),
        (NOW_MS, NOW_MS, 9 * 10**18, NOW_MS),
        # a shift to before 2000
        (946_684_800_000, NOW_MS, NOW_MS + DAY, 946_684_800_000),
    ],
)
def test_the_time_of_an_event(sent: int, arrived: int, uploaded: int | None, expected: int) -> None:
    (got,) = correct(row(sent, arrived, uploaded))
    assert got["event_timestamp"] == expected
    assert got["event_timestamp_original"] == sent


def test_what_hangs_on_the_clock_is_shifted_with_it() -> None:
    params = [
        pair("_session_start_timestamp", NOW_MS + DAY - HOUR),
        pair("other", 5),
        pair("_previous_timestamp", NOW_MS + DAY - MINUTE),
        pair("_session_id", "abc"),
    ]
    touched = {"user_first_touch_timestamp": NOW_MS + DAY - HOUR, "event_params": params}
    right = row(NOW_MS, NOW_MS, NOW_MS, **touched)
    wrong = row(NOW_MS + DAY, NOW_MS + 1, NOW_MS + DAY + 1, **touched)
    nothing = row(NOW_MS + DAY, NOW_MS, NOW_MS + DAY, event_params=None)
    first, shifted, last, bare = correct(right, wrong, right, nothing)
    assert first == last == {**right, **first}
    assert shifted["event_date"] == date(2026, 1, 1)
    assert shifted["event_server_timestamp_offset"] == 1
    assert shifted["user_first_touch_timestamp"] == NOW_MS - HOUR
    assert {one["key"]: one["value"] for one in shifted["event_params"]} == {
        key: {"double_value": None, "float_value": None, "string_value": text, "int_value": number}
        for key, text, number in (
            ("_session_start_timestamp", None, NOW_MS - HOUR),
            ("other", None, 5),
            ("_previous_timestamp", None, NOW_MS - MINUTE),
            ("_session_id", "abc", None),
        )
    }
    assert bare["user_first_touch_timestamp"] is None
    assert not bare["event_params"]


def test_numbers_that_are_no_times_are_not_shifted() -> None:
    params = [pair("_session_start_timestamp", 2**63 - 1), pair("_previous_timestamp", 0)]
    (got,) = correct(
        row(
            NOW_MS - DAY,
            NOW_MS,
            NOW_MS - DAY,
            event_params=params,
            user_first_touch_timestamp=2**63 - 1,
        )
    )
    assert got["event_timestamp"] == NOW_MS
    assert [one["value"]["int_value"] for one in got["event_params"]] == [2**63 - 1, 0]
    assert got["user_first_touch_timestamp"] == 2**63 - 1


def test_bad_rows_pass_as_they_are() -> None:
    bad = row(None, NOW_MS, NOW_MS - DAY, bad_reason="not_json", payload=b"x")
    (got,) = correct(bad)
    assert (got["event_timestamp"], got["payload"], got["bad_reason"]) == (None, b"x", "not_json")
