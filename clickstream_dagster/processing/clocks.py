"""Events of wrong clocks are put where they belong, by the clock of the collector.

An SDK that says when it sent a request (`upload_timestamp`) shows how far its clock is off: the
difference to the time of arrival. Only times that the collector has stored decide, never the time
of processing, so a replay gives the same answer.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing.limits import (
    MAX_AHEAD_MS,
    MAX_CLOCK_DIFFERENCE_MS,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)

_DAY_MS = 86_400_000
_NEVER = np.iinfo(np.int64).min

# Attributes that hold times of the same clock.
_TIMES = ("_session_start_timestamp", "_previous_timestamp")


def correct_clocks(
    batches: Iterator[pa.RecordBatch], *, shift: bool = True
) -> Iterator[pa.RecordBatch]:
    """Give EVENT rows with the times of wrong clocks shifted, or without `shift` as they are.

    A clock is wrong when it is more than MAX_CLOCK_DIFFERENCE_MS off the collector's at the time
    of the upload: the event, the user's first touch and the times in its attributes are shifted by
    the difference. An event whose request does not tell its time of upload stays as it is, and so
    do the copies of it that a retry brings: they are one event only while their times agree.
    `event_timestamp_original` keeps what was sent.
    """
    for batch in batches:
        yield _corrected(batch, shift)


def _corrected(batch: pa.RecordBatch, allowed: bool) -> pa.RecordBatch:
    sent = batch.column("event_timestamp")
    shift = clock_shift(
        *(
            np.asarray(batch.column(name).fill_null(_NEVER))
            for name in ("event_timestamp", "ingest_timestamp", "upload_timestamp")
        )
    )
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns["event_timestamp_original"] = sent
    if allowed and shift.any():
        corrected = pc.add(sent, pa.array(shift))
        days = pc.divide(corrected, _DAY_MS)
        columns["event_timestamp"] = corrected
        columns["event_date"] = days.cast(pa.int32()).cast(pa.date32())
        columns["event_server_timestamp_offset"] = pc.subtract(
            columns["ingest_timestamp"], corrected
        )
        touched = np.asarray(columns["user_first_touch_timestamp"].fill_null(0))
        columns["user_first_touch_timestamp"] = pa.array(
            np.where(_is_plausible(touched), touched + shift, touched),
            mask=np.asarray(columns["user_first_touch_timestamp"].is_null()),
        )
        columns["event_params"] = _shifted_times(columns["event_params"], shift)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def clock_shift(sent: np.ndarray, arrived: np.ndarray, uploaded: np.ndarray) -> np.ndarray:
    """Give the ms that are to be added to each event's time; 0 for rows without one.

    All are ms UTC; a time of upload outside of the years that clocks tell says nothing.
    """
    is_event = (sent != _NEVER) & (arrived != _NEVER)
    tells = is_event & (uploaded >= MIN_TIMESTAMP_MS) & (uploaded < MAX_TIMESTAMP_MS)
    difference = np.where(tells, arrived - np.where(tells, uploaded, 0), 0)
    shift = np.where(np.abs(difference) > MAX_CLOCK_DIFFERENCE_MS, difference, 0)
    # A clock that was set between the event and its upload may say anything; nothing happens after
    # its arrival.
    moved = np.where(is_event, sent + shift, MIN_TIMESTAMP_MS)
    return np.where(_is_plausible(moved) & (moved <= arrived + MAX_AHEAD_MS), shift, 0)


def _is_plausible(ms: np.ndarray) -> np.ndarray:
    return (ms >= MIN_TIMESTAMP_MS) & (ms < MAX_TIMESTAMP_MS)


def _shifted_times(params: pa.ListArray, shift: np.ndarray) -> pa.ListArray:
    """Give event_params with the times of the shifted rows shifted as well.

    Only entries of these rows are looked at: they are few.
    """
    offsets = np.asarray(params.offsets)
    rows = np.flatnonzero(shift)
    lengths = offsets[rows + 1] - offsets[rows]
    row = np.repeat(rows, lengths)
    place = np.arange(lengths.sum()) + np.repeat(
        offsets[rows] - (np.cumsum(lengths) - lengths), lengths
    )
    entries: pa.StructArray = params.values
    value: pa.StructArray = entries.field("value")
    is_time = np.asarray(
        pc.is_in(entries.field("key").take(pa.array(place)), pa.array(_TIMES, pa.string()))
    )
    place, row = place[is_time], row[is_time]
    whole = value.field("int_value")
    is_whole = np.asarray(whole.is_valid())
    numbers = np.asarray(whole.fill_null(0)).copy()
    # Numbers that are no times stay as they are.
    is_time = _is_plausible(numbers[place])
    numbers[place[is_time]] += shift[row[is_time]]
    fields = {field.name: value.field(field.name) for field in value.type}
    fields["int_value"] = pa.array(numbers, mask=~is_whole)
    value = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    return pa.ListArray.from_arrays(
        params.offsets, pa.StructArray.from_arrays([entries.field("key"), value], ["key", "value"])
    )
