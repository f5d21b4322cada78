"""Event parameters are read and set by name."""

import pyarrow as pa
import pytest

from clickstream_dagster.processing.events import EVENT
from clickstream_dagster.processing.params import text_params, with_param
from tests.plugins.events_input import params


def batch(*rows: list[dict] | None) -> pa.RecordBatch:
    given = [{"event_params": row} for row in rows]
    return pa.RecordBatch.from_pylist(given, schema=EVENT)


def test_parameters_are_read_as_texts() -> None:
    rows = batch(params(a="x", b=7), None, [], params(b=1.5), params(a="y", c="z") * 2)
    for part, expected in (
        (rows, {"_a": ["x", None, None, None, "y"], "_b": ["7", None, None, "1.5", None]}),
        (rows.slice(3), {"_a": [None, "y"], "_b": ["1.5", None]}),
        (rows.slice(0, 0), {"_a": [], "_b": []}),
    ):
        found = text_params(part.column("event_params"), ["_a", "_b"])
        assert {name: column.to_pylist() for name, column in found.items()} == expected


@pytest.mark.parametrize(
    "values", [pa.array(["x", None, "y"]), pa.array([1, None, 2]), pa.array([1.5, None, 2.5])]
)
def test_a_parameter_is_set_where_there_is_a_value(values: pa.Array) -> None:
    rows = batch(params(a="old", b=7), params(a="stays"), None)
    changed = with_param(rows, "_a", values)
    assert changed.schema.equals(EVENT)
    found = text_params(changed.column("event_params"), ["_a", "_b"])
    first, _, last = (None if value is None else str(value) for value in values.to_pylist())
    assert found["_a"].to_pylist() == [first, "stays", last]
    assert found["_b"].to_pylist() == ["7", None, None]
    assert [len(row or []) for row in changed.column("event_params").to_pylist()] == [2, 1, 1]


def test_a_parameter_is_a_text_or_a_number() -> None:
    with pytest.raises(TypeError, match="a text or a number, not bool"):
        with_param(batch(None), "_a", pa.array([True]))
