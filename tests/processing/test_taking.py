"""Rows in another order are the rows that Arrow's take gives."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream_dagster.processing.schema import KEY_VALUE, ODS_EVENT
from clickstream_dagster.processing.taking import take_rows

_TEXTS = st.none() | st.text(max_size=9)
_NUMBERS = st.none() | st.integers(-(2**31), 2**31 - 1)
_ELEMENT = pa.struct(
    [
        ("key", pa.string()),
        ("nothing", pa.float64()),
        ("flag", pa.bool_()),
        ("value", pa.struct([("whole", pa.int64()), ("short", pa.int32()), ("text", pa.string())])),
        ("inner", pa.list_(pa.string())),
    ]
)
_SCHEMA = pa.schema(
    [("id", pa.string()), ("elements", pa.list_(_ELEMENT)), ("one", _ELEMENT), ("day", pa.date32())]
)
_VALUES = st.none() | st.fixed_dictionaries({"whole": _NUMBERS, "short": _NUMBERS, "text": _TEXTS})
_ELEMENTS = st.none() | st.fixed_dictionaries(
    {
        "key": _TEXTS,
        "nothing": st.none(),
        "flag": st.none() | st.booleans(),
        "value": _VALUES,
        "inner": st.none() | st.lists(_TEXTS, max_size=2),
    }
)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": _TEXTS,
            "elements": st.none() | st.lists(_ELEMENTS, max_size=5),
            "one": _ELEMENTS,
            "day": st.none() | st.dates(),
        }
    ),
    min_size=1,
    max_size=40,
)


def _require_same(batch: pa.RecordBatch, rows: list[int]) -> None:
    taken = take_rows(batch, np.array(rows, np.int64))
    taken.validate(full=True)
    assert taken.schema == batch.schema
    assert taken.to_pylist() == batch.take(pa.array(rows, pa.int64())).to_pylist()


@settings(deadline=None)  # functions are compiled at their first call
@given(_ROWS, st.data())
def test_any_rows_of_any_nesting(rows: list[dict], data: st.DataObject) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
    first = data.draw(st.integers(0, len(rows) - 1))
    part = batch.slice(first)
    _require_same(part, data.draw(st.lists(st.integers(0, len(part) - 1), max_size=60)))


def test_rows_with_long_lists_as_events_have_them() -> None:
    random = np.random.default_rng(7)
    value = {"double_value": None, "float_value": None, "int_value": 5, "string_value": None}
    params = [
        [
            {"key": f"key_{n}", "value": value | {"string_value": "x" * n if n % 3 else None}}
            for n in range(random.integers(0, 30))
        ]
        for _ in range(500)
    ]
    batch = pa.record_batch({"event_params": pa.array(params, pa.list_(KEY_VALUE))})
    _require_same(batch, random.permutation(500).tolist())
    _require_same(batch, random.integers(0, 500, 900).tolist())


@pytest.mark.parametrize("size", [0, 3])
def test_rows_of_nothing(size: int) -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.nulls(size, field.type) for field in ODS_EVENT], schema=ODS_EVENT
    )
    _require_same(batch, [])
    _require_same(batch, list(range(size))[::-1])
