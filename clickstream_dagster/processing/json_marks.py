"""Marks on the nodes of JSON texts, compiled: one pass instead of one for each step of a formula.

Every function gives a boolean for each of `nodes`; a node below 0 is no value. What describes all
nodes of a batch (`kind`, `start`, `stop`, `key`) is what json_scan.scan gives.
"""

import numpy as np

from clickstream_dagster.processing.compiling import compiled
from clickstream_dagster.processing.json_scan import ESCAPED, NULL, STRING

_at = np.uint64  # as in json_scan


@compiled
def of_kind(kind, nodes, wanted):
    """Mark the nodes of one kind."""
    found = np.zeros(len(nodes), np.bool_)
    for n in range(len(nodes)):
        found[n] = nodes[n] >= 0 and kind[_at(nodes[n])] == wanted
    return found


@compiled
def missing(kind, start, stop, nodes):
    """Mark what is not there, null, or an empty string."""
    found = np.ones(len(nodes), np.bool_)
    for n in range(len(nodes)):
        if nodes[n] >= 0:
            node = _at(nodes[n])
            is_empty = kind[node] == STRING and start[node] == stop[node]
            found[n] = is_empty or kind[node] == NULL
    return found


@compiled
def longer(start, stop, nodes, size):
    """Mark the values that are written with more bytes, quotes not counted."""
    found = np.zeros(len(nodes), np.bool_)
    for n in range(len(nodes)):
        if nodes[n] >= 0:
            node = _at(nodes[n])
            found[n] = stop[node] - start[node] > size
    return found


@compiled
def with_key(key, nodes, wanted):
    """Mark the members whose key is marked in `wanted`, which has a boolean for each key."""
    found = np.zeros(len(nodes), np.bool_)
    for n in range(len(nodes)):
        found[n] = wanted[_at(key[_at(nodes[n])])]
    return found


@compiled
def begin_with(data, kind, start, stop, nodes, sign):
    """Mark the strings that begin with a byte."""
    found = np.zeros(len(nodes), np.bool_)
    for n in range(len(nodes)):
        if nodes[n] >= 0:
            node = _at(nodes[n])
            is_string = kind[node] == STRING or kind[node] == ESCAPED
            found[n] = is_string and start[node] < stop[node] and data[start[node]] == sign
    return found
