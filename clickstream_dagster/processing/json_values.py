"""JSON texts as Arrow columns, a batch at a time, without a Python object for a value.

    batch = JsonBatch(pa.array(['{"a": 1, "b": {"c": "x"}}', '{"a": "2"}', "no json"]))
    found = batch.fields(batch.roots, ("a", "b"))
    batch.integers(found["a"])     # [1, 2, null]
    batch.texts(found["b"])        # ['{"c":"x"}', null, null]

Values are named by *nodes*: numbers in a numpy array, a row each, -1 where there is no value.
"""

import secrets
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing import json_marks, json_scan
from clickstream_dagster.processing.json_scan import ARRAY, FOUND, OBJECT, OTHER
from clickstream_dagster.processing.limits import MAX_DEPTH

# Another one in every process: keys can't be made to collide from outside.
_SEED = np.uint64(secrets.randbits(64))

_NO_SPARE = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int32))


class JsonBatch:
    """Many JSON texts, read once.

    `roots` has a node for each text, -1 for one that is not JSON or null; `faults` says for each
    text whether it is json_scan.OK, NOT_JSON (as RFC 8259 has it; NaN and Infinity are taken) or
    TOO_DEEP: nested more than MAX_DEPTH levels.
    """

    def __init__(self, texts: pa.StringArray) -> None:
        offsets, self._data = _buffers(texts)
        self.size = len(texts)
        (
            self.faults,
            self.roots,
            self._kind,
            self._start,
            self._stop,
            self._behind,
            self._key,
            self._key_start,
            self._key_stop,
            self._key_escaped,
        ) = json_scan.scan(
            self._data,
            offsets,
            MAX_DEPTH,
            _SEED,
        )
        self._one_number_a_key()

    def _one_number_a_key(self) -> None:
        """Let keys that are equal without their escapes, or that found no slot, share a number."""
        encoded = self._spelled_keys().dictionary_encode()
        self.keys: pa.StringArray = encoded.dictionary
        if len(encoded.dictionary) < len(encoded):
            self._key = np.asarray(encoded.indices).take(self._key, mode="clip")

    def _spelled_keys(self) -> pa.StringArray:
        kinds = np.where(self._key_escaped, json_scan.ESCAPED, json_scan.STRING).astype(np.uint8)
        every = np.arange(len(kinds), dtype=np.int32)
        return _strings(
            json_scan.texts(self._data, kinds, self._key_start, self._key_stop, every, *_NO_SPARE)
        )

    @cached_property
    def _number_of_key(self) -> dict[str, int]:
        return {key: number for number, key in enumerate(self.keys.to_pylist())}

    def fields(self, owners: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Give the nodes under some keys of the owners; of a repeated key the last value applies.

        An owner that is no object has none.
        """
        column_of_key = np.full(len(self.keys), -1, np.int32)
        for column, name in enumerate(names):
            if name in self._number_of_key:
                column_of_key[self._number_of_key[name]] = column
        found = json_scan.fields(
            self._kind, self._behind, self._key, owners, column_of_key, len(names)
        )
        return dict(zip(names, found, strict=True))

    def members(self, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the values in the objects among the owners, and where each owner's begin.

        The offsets have one more than the owners, as Arrow's lists have. A repeated key counts
        once, with its last value.
        """
        return self._children(owners, OBJECT)

    @cached_property
    def root_elements(self) -> tuple[np.ndarray, np.ndarray]:
        """The elements of the texts that are arrays, and where each text's begin: see elements."""
        return self.elements(self.roots)

    @property
    def element_counts(self) -> np.ndarray:
        """The number of elements of each text that is an array, 0 for others."""
        return np.diff(self.root_elements[1])

    def elements(self, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the elements of the arrays among the owners, and where each owner's begin."""
        return self._children(owners, ARRAY)

    def _children(self, owners: np.ndarray, container: int) -> tuple[np.ndarray, np.ndarray]:
        return json_scan.children(
            self._kind, self._behind, self._key, len(self.keys), owners, container
        )

    def is_object(self, nodes: np.ndarray) -> np.ndarray:
        """Mark the nodes that are objects."""
        return json_marks.of_kind(self._kind, nodes, OBJECT)

    def is_array(self, nodes: np.ndarray) -> np.ndarray:
        """Mark the nodes that are arrays."""
        return json_marks.of_kind(self._kind, nodes, ARRAY)

    def is_missing(self, nodes: np.ndarray) -> np.ndarray:
        """Mark what is not there, null, or an empty string."""
        return json_marks.missing(self._kind, self._start, self._stop, nodes)

    def is_longer(self, nodes: np.ndarray, characters: int) -> np.ndarray:
        """Mark the values whose text has more characters."""
        longer = json_marks.longer(self._start, self._stop, nodes, characters)
        # Bytes are an upper bound; few values come near.
        places = np.flatnonzero(longer)
        if len(places):
            lengths = pc.utf8_length(self.texts(nodes[places])).fill_null(0)
            longer[places] = np.asarray(pc.greater(lengths, characters))
        return longer

    def is_key(self, nodes: np.ndarray, *names: str) -> np.ndarray:
        """Mark the members that have one of the keys."""
        return self.has_key(nodes, pc.is_in(self.keys, pa.array(names, pa.string())))

    def has_key(self, nodes: np.ndarray, wanted: pa.BooleanArray) -> np.ndarray:
        """Mark the members whose key is wanted; `wanted` is parallel to `keys`."""
        return json_marks.with_key(self._key, nodes, np.asarray(wanted))

    def keys_of(self, nodes: np.ndarray) -> pa.StringArray:
        """Give the key of each member."""
        # Not Arrow's take: it needs five times as long for texts as short as these.
        offsets, data = _buffers(self.keys)
        kinds = np.full(len(self.keys), json_scan.STRING, np.uint8)
        written = json_scan.texts(
            data, kinds, offsets[:-1], offsets[1:], self._key[nodes], *_NO_SPARE
        )
        return _strings(written)

    def texts(self, nodes: np.ndarray) -> pa.StringArray:
        """Give values as text: strings as they are meant, others as JSON, null for null.

        Half a surrogate pair, which no text may hold, and NUL, which warehouses refuse, become
        U+FFFD.
        """
        return self._texts(nodes, *_NO_SPARE)

    def texts_but(
        self, nodes: np.ndarray, places: np.ndarray, others: pa.StringArray
    ) -> pa.StringArray:
        """Give values as text, those at `places` exchanged for `others` (null: no text)."""
        spare_of = np.full(len(nodes), -1, np.int32)
        spare_of[places] = np.where(np.asarray(others.is_valid()), np.arange(len(others)), -1)
        nodes = nodes.copy()
        nodes[places] = -1
        offsets, spare = _buffers(others)
        return self._texts(nodes, spare_of, spare, offsets)

    def _texts(self, nodes: np.ndarray, *spare: np.ndarray) -> pa.StringArray:
        return _strings(
            json_scan.texts(self._data, self._kind, self._start, self._stop, nodes, *spare)
        )

    def begin_with(self, nodes: np.ndarray, sign: str) -> np.ndarray:
        """Mark the values that are strings and begin with an ASCII character."""
        return json_marks.begin_with(
            self._data, self._kind, self._start, self._stop, nodes, ord(sign)
        )

    def written(self, node: int) -> bytes:
        """Give the very bytes of a value, quotes included."""
        quotes = int(self._kind[node] in (json_scan.STRING, json_scan.ESCAPED))
        return self._data[self._start[node] - quotes : self._stop[node] + quotes].tobytes()

    def written_member(self, node: int) -> bytes:
        """Give a member as an object of its own, `{"key":value}` with the value's very bytes."""
        key = orjson.dumps(self.keys[int(self._key[node])].as_py())
        return b"{" + key + b":" + self.written(node) + b"}"

    def integers(self, nodes: np.ndarray) -> pa.Int64Array:
        """Give whole numbers, also those sent as text; other numbers are rounded.

        What is no number, or one that 64 bits can't hold, is null.
        """
        values, state = self._integers(nodes, of_strings=True)
        other = np.flatnonzero(state == OTHER)
        if len(other):
            numbers = np.asarray(self._finite(nodes[other]).fill_null(np.inf))
            fits = np.abs(numbers) < 2.0**63
            values[other[fits]] = np.rint(numbers[fits]).astype(np.int64)
            state[other[fits]] = FOUND
        return pa.array(values, mask=state != FOUND)

    def _integers(self, nodes: np.ndarray, *, of_strings: bool) -> tuple[np.ndarray, np.ndarray]:
        return json_scan.integers(
            self._data, self._kind, self._start, self._stop, nodes, of_strings
        )

    def numbers(self, nodes: np.ndarray) -> pa.DoubleArray:
        """Give numbers, also those sent as text; what no double can hold is null."""
        _, state = self._integers(nodes, of_strings=True)
        return self._finite(np.where(state > 0, nodes, -1))

    def _finite(self, nodes: np.ndarray) -> pa.DoubleArray:
        """Give nodes that are known to spell numbers; those beyond a double are null."""
        number = self.texts(nodes).cast(pa.float64())
        return pc.if_else(pc.is_finite(number), number, pa.scalar(None, pa.float64()))

    def typed(self, nodes: np.ndarray) -> dict[str, pa.Array]:
        """Type values by their JSON type (seed 000, "Event parameter fields").

        Gives double_value, float_value, int_value and string_value: whole numbers are
        `int_value`, other numbers `double_value`, strings `string_value`; booleans and nested
        values are their JSON text in `string_value`. A number that 64 bits can't hold becomes a
        double, one that no double can hold its text.
        """
        whole, state = self._integers(nodes, of_strings=False)
        double_value = pa.nulls(len(nodes), pa.float64())
        is_text = state == 0
        other = state == OTHER
        if other.any():
            places = np.flatnonzero(other)
            finite = self._finite(nodes[places])
            double_value = pc.replace_with_mask(double_value, pa.array(other), finite)
            is_text[places[np.asarray(finite.is_null())]] = True
        return {
            "double_value": double_value,
            "float_value": pa.nulls(len(nodes), pa.float32()),
            "int_value": pa.array(whole, mask=state != FOUND),
            "string_value": self.texts(np.where(is_text, nodes, -1)),
        }


def _buffers(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Give the offsets and the bytes of texts, as they lie in memory."""
    _, offsets, data = texts.buffers()
    if offsets is None or len(texts) == 0:
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    return (
        np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1],
        np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8),
    )


def _strings(written: tuple[np.ndarray, np.ndarray, np.ndarray]) -> pa.StringArray:
    data, offsets, has = written
    bits = None if has.all() else pa.py_buffer(np.packbits(has, bitorder="little"))
    return pa.StringArray.from_buffers(len(has), pa.py_buffer(offsets), pa.py_buffer(data), bits)
