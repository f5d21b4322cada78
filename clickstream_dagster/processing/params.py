"""Event parameters by name, for enrichments: read and written for a whole batch at once."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing.schema import KEY_VALUE

_VALUE = KEY_VALUE.field("value").type


def text_params(params: pa.ListArray, names: Sequence[str]) -> dict[str, pa.StringArray]:
    """Give the values of some parameters as texts, a row each: null where it was not sent.

    `params` is a column such as event_params. Where a key stands twice, the last value counts.
    """
    rows = np.asarray(pc.list_parent_indices(params))
    keys, values = params.flatten().flatten()
    codes = np.asarray(pc.index_in(keys, pa.array(names, pa.string())).fill_null(-1))
    places = np.flatnonzero(codes >= 0)
    found = values.take(pa.array(places))
    texts = pc.coalesce(
        found.field("string_value"),
        found.field("int_value").cast(pa.string()),
        found.field("double_value").cast(pa.string()),
    )
    result: dict[str, pa.StringArray] = {}
    for code, name in enumerate(names):
        index = np.full(len(params), -1, np.int64)
        of_name = np.flatnonzero(codes[places] == code)
        index[rows[places[of_name]]] = of_name
        result[name] = texts.take(pa.array(index, mask=index < 0))
    return result


def with_param(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """Give the batch with one event parameter set, where `values` is not null.

    `values` holds texts, whole numbers or doubles, a row each; a value of that name that the app
    has sent is replaced. Raises TypeError for other types.
    """
    place = batch.schema.get_field_index("event_params")
    params: pa.ListArray = batch.column(place)
    given = np.asarray(values.is_valid())
    new_rows = np.flatnonzero(given)
    rows = np.asarray(pc.list_parent_indices(params))
    entries = params.flatten()
    replaced = np.asarray(pc.equal(entries.field("key"), name).fill_null(False)) & given[rows]
    entries, rows = entries.filter(pa.array(~replaced)), rows[~replaced]
    added = pa.StructArray.from_arrays(
        [pa.repeat(name, len(new_rows)), _typed(values.take(pa.array(new_rows)))],
        fields=list(KEY_VALUE),
    )
    all_rows = np.concatenate([rows, new_rows])
    order = np.argsort(all_rows, kind="stable")
    offsets = np.zeros(batch.num_rows + 1, np.int32)
    np.cumsum(np.bincount(all_rows, minlength=batch.num_rows), out=offsets[1:])
    merged = pa.concat_arrays([entries, added]).take(pa.array(order))
    field = batch.schema.field(place)
    return batch.set_column(
        place, field, pa.ListArray.from_arrays(pa.array(offsets), merged, type=field.type)
    )


def _typed(values: pa.Array) -> pa.StructArray:
    if pa.types.is_integer(values.type):
        kind = "int_value"
    elif pa.types.is_floating(values.type):
        kind = "double_value"
    elif pa.types.is_string(values.type):
        kind = "string_value"
    else:
        raise TypeError(f"an event parameter is a text or a number, not {values.type}")
    return pa.StructArray.from_arrays(
        [
            values.cast(field.type) if field.name == kind else pa.nulls(len(values), field.type)
            for field in _VALUE
        ],
        fields=list(_VALUE),
    )
