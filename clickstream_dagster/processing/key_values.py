"""JSON objects with free keys as lists of typed key-value structs, without a loop per value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickstream_dagster.processing.json_values import JsonBatch


@dataclass(frozen=True, slots=True)
class MemberLimits:
    """What members are held to, and the reason that each broken limit gives.

    Names match `name`. Values have at most `value_characters`, those of names that begin with _
    at most `preset_value_characters`. `no_value` is of members whose value is not where it should
    be.
    """

    members: int
    name: str
    name_characters: int
    value_characters: int
    preset_value_characters: int
    too_many: str
    invalid_name: str
    name_too_long: str
    value_too_long: str
    no_value: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """Parts of events that broke a limit: their nodes, the rows of the events, and why."""

    nodes: np.ndarray
    rows: np.ndarray
    reasons: np.ndarray

    @classmethod
    def of(
        cls, nodes: np.ndarray, broken: np.ndarray, reason: str, rows: np.ndarray | None = None
    ) -> "Discarded":
        """Give the marked ones of nodes, for one reason; without `rows` there is a node a row."""
        places = np.flatnonzero(broken)
        reasons = np.full(len(places), reason, object)
        return cls(nodes[places], places if rows is None else rows[places], reasons)


class KeyValues:
    """The members of many objects, one object a row; `nodes` are their values."""

    def __init__(
        self, json: JsonBatch, owners: np.ndarray, nodes: np.ndarray, offsets: np.ndarray
    ) -> None:
        self._json = json
        self._owners = owners
        self.nodes = nodes
        self._offsets = offsets

    @classmethod
    def of(cls, json: JsonBatch, owners: np.ndarray) -> "KeyValues":
        """Give the members of the owners; one that is no object has none."""
        return cls(json, owners, *json.members(owners))

    @property
    def rows(self) -> np.ndarray:
        """The row of each member's owner."""
        sizes = np.diff(self._offsets)
        return np.repeat(np.arange(len(sizes)), sizes)

    def only(self, *names: str) -> "KeyValues":
        """Give the members with one of the keys."""
        return self._kept(self._json.is_key(self.nodes, *names))

    def without(self, *names: str, rows: np.ndarray | None = None) -> "KeyValues":
        """Give the members with none of the keys; `rows` marks those where it matters."""
        drop = self._json.is_key(self.nodes, *names)
        if rows is not None:
            drop &= np.repeat(rows, np.diff(self._offsets))
        return self._kept(~drop)

    def _kept(self, keep: np.ndarray) -> "KeyValues":
        if keep.all():
            return self
        offsets = np.concatenate([[0], np.cumsum(keep)])[self._offsets].astype(np.int32)
        return KeyValues(self._json, self._owners, self.nodes[keep], offsets)

    def within(
        self, limits: MemberLimits, value_of: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> tuple["KeyValues", Discarded]:
        """Give the members that keep the limits, and the others.

        Of too many members the first ones stay, and what is told of is their object, once: it may
        have a million. `value_of` gives the nodes of the values where those are not the members
        themselves.
        """
        json, nodes = self._json, self.nodes
        values = nodes if value_of is None else value_of(nodes)
        long_value = json.is_longer(values, limits.value_characters)
        if long_value.any():
            is_preset = json.has_key(nodes, pc.starts_with(json.keys, "_"))
            long_value &= ~is_preset | json.is_longer(values, limits.preset_value_characters)
        names_too_long = pc.greater(pc.utf8_length(json.keys), limits.name_characters)
        names_invalid = pc.invert(pc.match_substring_regex(json.keys, limits.name))
        checks = (
            ((values < 0) & ~json.is_missing(nodes), limits.no_value),
            (long_value, limits.value_too_long),
            (json.has_key(nodes, names_invalid), limits.invalid_name),
            (json.has_key(nodes, names_too_long), limits.name_too_long),
        )
        # The number of the last check that applies, from 1.
        failed = np.zeros(len(nodes), np.uint8)
        for number, (breaks, _) in enumerate(checks, 1):
            failed[breaks] = number
        has_excess = np.diff(self._offsets) > limits.members
        if not (failed.any() or has_excess.any()):
            return self, Discarded.of(nodes, failed > 0, "")
        rows = self.rows
        excess = np.arange(len(nodes)) - self._offsets[rows] >= limits.members
        broken = (failed > 0) & ~excess
        reasons = np.array([None, *(reason for _, reason in checks)], object)
        whole = Discarded.of(self._owners, has_excess, limits.too_many)
        return self._kept(~(broken | excess)), Discarded(
            np.concatenate([nodes[broken], whole.nodes]),
            np.concatenate([rows[broken], whole.rows]),
            np.concatenate([reasons[failed[broken]], whole.reasons]),
        )

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
