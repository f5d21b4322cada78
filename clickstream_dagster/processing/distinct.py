"""Look-ups by distinct value, and structs with some fields exchanged: what enrichments need."""

from collections.abc import Callable

import pyarrow as pa


def look_up_distinct(
    values: pa.StringArray, look_up: Callable[[str], tuple | None], type_: pa.StructType
) -> pa.StructArray:
    """Give `look_up` of every value as a struct; it is called once per distinct value.

    `look_up` gives the fields of the struct in order, or None for a row of nulls; a null value
    is not looked up.
    """
    encoded = values.dictionary_encode()
    rows = [look_up(value) for value in encoded.dictionary.to_pylist()]
    nothing = (None,) * type_.num_fields
    columns = zip(*[row or nothing for row in rows], nothing, strict=True)
    found = pa.StructArray.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, type_, strict=True)],
        fields=list(type_),
    )
    # The last row, of nulls, serves the values that are null.
    return found.take(encoded.indices.fill_null(len(rows)))


def with_fields(batch: pa.RecordBatch, column: str, fields: dict[str, pa.Array]) -> pa.RecordBatch:
    """Give the batch with some fields of a struct column exchanged, the others untouched.

    A struct that was null becomes one whose other fields are null.
    """
    place = batch.schema.get_field_index(column)
    struct: pa.StructArray = batch.column(place)
    kept = zip(struct.type, struct.flatten(), strict=True)
    arrays = [fields.get(field.name, array) for field, array in kept]
    changed = pa.StructArray.from_arrays(arrays, fields=list(struct.type))
    return batch.set_column(place, batch.schema.field(place), changed)


def map_distinct(values: pa.StringArray, function: Callable[[str], str | None]) -> pa.StringArray:
    """Give `function` of every text; it is called once per distinct one, and not for null."""
    encoded = values.dictionary_encode()
    mapped = [function(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(mapped, pa.string()).take(encoded.indices)
