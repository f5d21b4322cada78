"""Whole numbers in the query strings of addresses, found by compiled code."""

import numpy as np
import pyarrow as pa

from clickstream_dagster.processing.compiling import compiled

_MOST_DIGITS = 18  # what 64 bits hold whatever the digits are
_QUESTION, _AND, _IS, _HASH, _ZERO, _NINE = (ord(sign) for sign in "?&=#09")

_at = np.uint64  # as in json_scan


def query_numbers(addresses: pa.StringArray, name: str) -> pa.Int64Array:
    """Give the first value of a name that is a whole number of up to 18 digits, null without one.

    Values are taken as they are written: no digit needs an escape.
    """
    _, offsets, data = addresses.buffers()
    if data is None:
        return pa.nulls(len(addresses), pa.int64())
    bounds = np.frombuffer(offsets, np.int32)[addresses.offset :][: len(addresses) + 1]
    wanted = np.frombuffer(f"{name}=".encode(), np.uint8)
    values, found = _query_numbers(np.frombuffer(data, np.uint8), bounds, wanted)
    return pa.array(values, mask=~found)


@compiled
def _query_numbers(data, bounds, wanted):
    values = np.zeros(len(bounds) - 1, np.int64)
    found = np.zeros(len(values), np.bool_)
    for n in range(len(values)):
        stop = np.int64(bounds[n + 1])
        place = np.int64(bounds[n])
        while place + len(wanted) < stop and not found[n]:
            sign = data[_at(place)]
            place += 1
            if sign != _QUESTION and sign != _AND:
                continue
            same = 0
            while same < len(wanted) and data[_at(place + same)] == wanted[_at(same)]:
                same += 1
            if same < len(wanted):
                continue
            first = end = place + same
            value = 0
            while end < stop and end - first < _MOST_DIGITS and _ZERO <= data[_at(end)] <= _NINE:
                value = 10 * value + data[_at(end)] - _ZERO
                end += 1
            ends = end == stop or data[_at(end)] == _AND or data[_at(end)] == _HASH
            if end > first and ends:
                values[n] = value
                found[n] = True
    return values, found
