"""JSON objects with free keys as arrays of typed key-value structs, without a loop per value.

A parameter is typed by its JSON type: whole numbers to `int_value`, other numbers to
`double_value`, strings to `string_value`; booleans and nested values become their JSON text in
`string_value` (seed 000, "Event parameter fields").
"""

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

_SAFE_DIGITS = 18  # any number of so many digits fits into 64 bits


def value_fields(json_values: pa.StringArray) -> dict[str, pa.Array]:
    """Type JSON texts: give the arrays double_value, float_value, int_value, string_value.

    A number that 64 bits can't hold becomes a double, one that no double can hold its text.
    """
    size = len(json_values)
    first = _first_bytes(json_values)
    is_string = first == ord('"')
    is_number = ((first >= ord("0")) & (first <= ord("9"))) | (first == ord("-"))
    numbers = json_values.filter(pa.array(is_number))
    is_whole = _is_whole(numbers)
    nothing = pa.scalar(None, pa.string())
    int_value = pc.if_else(is_whole, numbers, nothing).cast(pa.int64())
    double_value = pc.if_else(is_whole, nothing, numbers).cast(pa.float64())
    string_value = _strings(json_values, is_string, is_number)
    infinite = np.asarray(pc.fill_null(pc.invert(pc.is_finite(double_value)), False))
    if infinite.any():
        double_value = pc.if_else(pa.array(infinite), pa.scalar(None, pa.float64()), double_value)
        mask = np.zeros(size, bool)
        mask[np.flatnonzero(is_number)[infinite]] = True
        string_value = pc.replace_with_mask(
            string_value, pa.array(mask), numbers.filter(pa.array(infinite))
        )
    # Every number stands once in the compact arrays; all other values share their null.
    place = np.where(is_number, np.cumsum(is_number) - 1, len(numbers))
    places = pa.array(place, pa.int64())
    return {
        "double_value": _with_null(double_value).take(places),
        "float_value": pa.nulls(size, pa.float32()),
        "int_value": _with_null(int_value).take(places),
        "string_value": string_value,
    }


def _with_null(values: pa.Array) -> pa.Array:
    return pa.concat_arrays([values, pa.nulls(1, values.type)])


def _is_whole(numbers: pa.StringArray) -> pa.BooleanArray:
    """Mark the numbers that are integers of 64 bits."""
    broken = pc.or_(
        pc.match_substring(numbers, "."),
        pc.or_(pc.match_substring(numbers, "e"), pc.match_substring(numbers, "E")),
    )
    # JSON readers that take -Infinity write it with a capital.
    broken = pc.or_(broken, pc.match_substring(numbers, "I"))
    lengths = pc.binary_length(numbers)
    mask = np.asarray(pc.and_(pc.invert(broken), pc.less_equal(lengths, _SAFE_DIGITS))).copy()
    long = pc.and_(pc.greater(lengths, _SAFE_DIGITS), pc.less_equal(lengths, 20))
    for place in np.flatnonzero(np.asarray(pc.and_(long, pc.invert(broken)))):
        mask[place] = -(1 << 63) <= int(numbers[place].as_py()) < 1 << 63
    return pa.array(mask)


def _first_bytes(values: pa.StringArray) -> np.ndarray:
    """Give the first byte of every text, 0 for nulls and empty ones."""
    _, offset_buffer, data_buffer = values.buffers()
    size = len(values)
    if size == 0 or data_buffer is None or data_buffer.size == 0:
        return np.zeros(size, np.uint8)
    offsets = np.frombuffer(offset_buffer, np.int32)[values.offset : values.offset + size + 1]
    data = np.frombuffer(data_buffer, np.uint8)
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    return np.where(offsets[:-1] == offsets[1:], np.uint8(0), first)


def _strings(
    json_values: pa.StringArray, is_string: np.ndarray, is_number: np.ndarray
) -> pa.StringArray:
    """Give strings without quotes and escapes, other texts as they are, null for numbers."""
    raw = json_values.view(pa.binary())
    unquoted = pc.if_else(pa.array(is_string), pc.binary_slice(raw, 1, -1), raw)
    strings = pc.if_else(pa.array(is_number), pa.scalar(None, pa.binary()), unquoted)
    escaped = pc.and_(
        pa.array(is_string), pc.fill_null(pc.match_substring(json_values, "\\"), False)
    )
    if pc.any(escaped).as_py():
        texts = json_values.filter(escaped)
        plain = orjson.loads("[" + ",".join(texts.to_pylist()) + "]")
        strings = pc.replace_with_mask(
            strings, escaped, pa.array([text.encode() for text in plain], pa.binary())
        )
    return strings.view(pa.string())


class KeyValues:
    """The entries of a map column: flat keys and values, and the row that each belongs to."""

    def __init__(self, column: pa.MapArray) -> None:
        self.rows = len(column)
        offsets = np.asarray(column.offsets)
        # Entries of a null map or of a sliced-off row are not ours.
        lengths = np.diff(offsets)
        if column.null_count:
            lengths = np.where(np.asarray(column.is_valid()), lengths, 0)
        start = offsets[0] if len(offsets) else 0
        stop = offsets[-1] if len(offsets) else 0
        if lengths.sum() != stop - start:
            raise ValueError("a null map holds entries")
        self.row = np.repeat(np.arange(self.rows), lengths)
        self.keys: pa.StringArray = column.keys.slice(start, stop - start)
        self.values: pa.Array = column.items.slice(start, stop - start)
        encoded = self.keys.dictionary_encode()
        self._code_of = {key: code for code, key in enumerate(encoded.dictionary.to_pylist())}
        self._codes = np.asarray(encoded.indices)

    def is_key(self, *names: str) -> np.ndarray:
        """Give a mask of the entries with one of the keys."""
        codes = [self._code_of[name] for name in names if name in self._code_of]
        return np.isin(self._codes, codes)

    def pick(self, name: str, values: pa.Array) -> pa.Array:
        """Give, a row each, the entry of `values` (parallel to the keys) under the key."""
        places = np.flatnonzero(self.is_key(name))
        index = np.full(self.rows, -1, np.int64)
        index[self.row[places]] = places
        return values.take(pa.array(index, mask=index < 0))

    def structs(self, fields: dict[str, pa.Array], keep: np.ndarray) -> pa.ListArray:
        """Give, a row each, the list of kept entries as {key, value: {fields}}."""
        value = pa.StructArray.from_arrays(list(fields.values()), list(fields))
        entries = pa.StructArray.from_arrays([self.keys, value], ["key", "value"])
        row = self.row
        if not keep.all():
            entries = entries.filter(pa.array(keep))
            row = row[keep]
        offsets = np.zeros(self.rows + 1, np.int32)
        np.cumsum(np.bincount(row, minlength=self.rows), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), entries)
