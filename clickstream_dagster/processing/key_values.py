"""JSON objects with free keys as lists of typed key-value structs, without a loop per value."""

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa

from clickstream_dagster.processing.json_values import JsonBatch


class KeyValues:
    """The members of many objects, one object a row.

    `nodes` are the values. An owner that is no object has no members. `only` and `but` narrow the
    members to those with one of the keys, or with none of them.
    """

    def __init__(
        self,
        json: JsonBatch,
        owners: np.ndarray,
        *,
        only: Collection[str] = (),
        but: Collection[str] = (),
    ) -> None:
        self._json = json
        self.nodes, self._offsets = json.members(owners)
        if only:
            self._keep(json.is_key(self.nodes, *only))
        if but:
            self._keep(~json.is_key(self.nodes, *but))

    def _keep(self, keep: np.ndarray) -> None:
        if not keep.all():
            self.nodes = self.nodes[keep]
            self._offsets = np.concatenate([[0], np.cumsum(keep)])[self._offsets].astype(np.int32)

    def drop(self, rows: np.ndarray, *names: str) -> None:
        """Drop the members with one of the keys from the rows that are marked."""
        row = np.repeat(rows, np.diff(self._offsets))
        self._keep(~(row & self._json.is_key(self.nodes, *names)))

    def typed(self) -> dict[str, pa.Array]:
        """Type the values by their JSON type, as JsonBatch.typed does."""
        return self._json.typed(self.nodes)

    def structs(
        self, fields: dict[str, pa.Array], names: Mapping[str, str] | None = None
    ) -> pa.ListArray:
        """Give, a row each, the list of its members as {key, value: {fields}}.

        With `names`, keys are exchanged for others and a row without members is null.
        """
        keys = self._json.keys_of(self.nodes)
        offsets = pa.array(self._offsets)
        if names is not None:
            encoded = keys.dictionary_encode()
            new = pa.array([names[key] for key in encoded.dictionary.to_pylist()], pa.string())
            keys = new.take(encoded.indices)
            is_empty = np.append(np.diff(self._offsets) == 0, False)
            offsets = pa.array(self._offsets, mask=is_empty)
        value = pa.StructArray.from_arrays(list(fields.values()), list(fields))
        entries = pa.StructArray.from_arrays([keys, value], ["key", "value"])
        return pa.ListArray.from_arrays(offsets, entries)
