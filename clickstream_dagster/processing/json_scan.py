"""JSON texts to nodes, compiled: a strict reader that makes no Python object of a value.

A *node* is a value of a text, numbered in the order in which values begin. Where an object or
array ends is told by the number of the node behind it, so children are found without a search.
The functions are compiled by numba at their first call and kept on disk; they hold no lock of the
interpreter, so tasks run side by side in one process. What they accept is RFC 8259, and the
numbers NaN, Infinity and -Infinity, which some encoders write.
"""
# Compiled code is written plainly: no generators, no tuples to search in.
# ruff: noqa: SIM109, SIM110

import numpy as np

from clickstream_dagster.processing.compiling import compiled, compiled_lean
from clickstream_dagster.processing.json_words import (
    WORD,
    fetch_early,
    first_marked,
    hash_of,
    mark_backslashes,
    mark_ends,
    put_word,
    same_bytes,
    word_at,
)

NULL, FALSE, TRUE, INTEGER, FLOAT, NOT_FINITE, STRING, ESCAPED, OBJECT, ARRAY = range(10)
"""Kinds of nodes: INTEGER has no fraction and no exponent, ESCAPED is a string with escapes."""

OK, NOT_JSON, TOO_DEEP = range(3)
"""What became of a text."""

ABSENT, FOUND, OTHER = range(3)
"""What `integers` found: nothing, a whole number of 64 bits, or another number."""

_FIRST_SLOTS = 4_096
# What events have, or more; there is room for others as soon as they turn up.
_BYTES_A_NODE = 16
# A key that finds no slot near its own gets a number of its own: many keys that were made to
# collide cost little. Whoever looks keys up must look at all of them.
_MOST_PROBES = 64
# Values of one field lie an event apart: each would be waited for.
_NODES_AHEAD = 32

_QUOTE, _BACKSLASH, _COMMA, _COLON = (ord(sign) for sign in '"\\,:')
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = (ord(sign) for sign in "{}[]")
_ZERO, _NINE, _MINUS, _PLUS, _DOT = (ord(sign) for sign in "09-+.")
_SPACE, _TAB, _LINE_FEED, _RETURN = (ord(sign) for sign in " \t\n\r")
_U, _E, _CAPITAL_E = (ord(sign) for sign in "ueE")

_LITERALS = tuple(
    np.frombuffer(text, np.uint8)
    for text in (b"null", b"false", b"true", b"NaN", b"Infinity", b"-Infinity")
)
_NULL_TEXT, _FALSE_TEXT, _TRUE_TEXT, _NAN_TEXT, _INFINITY_TEXT, _MINUS_INFINITY_TEXT = _LITERALS

# What stands behind a backslash, and the byte that it means; 0 for what may not stand there.
_ESCAPES = np.zeros(256, np.uint8)
for _sign, _byte in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _ESCAPES[_sign] = _byte
_HEX = np.full(256, 255, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    _HEX[list(_digits)] = range(16)
# Bytes that a string goes on behind: all but the quote, the backslash and controls.
_PLAIN = np.full(256, True)
_PLAIN[:32] = False
_PLAIN[[_QUOTE, _BACKSLASH]] = False

# Arrays are read and written at unsigned places: the compiler then leaves out the look whether a
# place is negative and counts from the end. That makes copying texts three times as fast.
_at = np.uint64


@compiled_lean
def _behind_blanks(data, place, stop):
    while place < stop:
        sign = data[_at(place)]
        if sign > _SPACE or (
            sign != _SPACE and sign != _LINE_FEED and sign != _RETURN and sign != _TAB
        ):
            break
        place += 1
    return place


@compiled_lean
def _matches(data, place, stop, text):
    if stop - place < len(text):
        return False
    for n in range(len(text)):
        if data[_at(place + n)] != text[n]:
            return False
    return True


@compiled_lean
def _is_digit(sign):
    return _ZERO <= sign <= _NINE


@compiled_lean
def _behind_number(data, place, stop):
    """Give the place behind a number, -1 if there is none, and whether it is an integer."""
    if place < stop and data[_at(place)] == _MINUS:
        place += 1
    if place >= stop or not _is_digit(data[_at(place)]):
        return -1, False
    if data[_at(place)] == _ZERO:
        place += 1
    else:
        while place < stop and _is_digit(data[_at(place)]):
            place += 1
    integer = True
    if place < stop and data[_at(place)] == _DOT:
        integer = False
        first = place + 1
        place = first
        while place < stop and _is_digit(data[_at(place)]):
            place += 1
        if place == first:
            return -1, False
    if place < stop and (data[_at(place)] == _E or data[_at(place)] == _CAPITAL_E):
        integer = False
        place += 1
        if place < stop and (data[_at(place)] == _PLUS or data[_at(place)] == _MINUS):
            place += 1
        first = place
        while place < stop and _is_digit(data[_at(place)]):
            place += 1
        if place == first:
            return -1, False
    return place, integer


@compiled_lean
def _closing_quote(data, place, stop):
    """Give the place of the quote that ends a string, -1 if none does, and if it has escapes."""
    escaped = False
    while place < stop:
        if stop - place >= WORD:
            marks = mark_ends(word_at(data, _at(place)))
            if marks == 0:
                place += WORD
                continue
            place += first_marked(marks)
        sign = data[_at(place)]
        if _PLAIN[sign]:
            place += 1
        elif sign == _QUOTE:
            return place, escaped
        elif sign == _BACKSLASH:
            escaped = True
            if stop - place < 2:
                return -1, False
            if data[_at(place + 1)] == _U:
                if stop - place < 6:
                    return -1, False
                for n in range(2, 6):
                    if _HEX[data[_at(place + n)]] == 255:
                        return -1, False
                place += 6
            elif _ESCAPES[data[_at(place + 1)]] == 0:
                return -1, False
            else:
                place += 2
        else:
            return -1, False
    return -1, False


@compiled_lean
def _behind_scalar(data, place, stop):
    """Give the place behind a number or literal, -1 if there is none, and its kind."""
    sign = data[_at(place)]
    if sign == _MINUS or _is_digit(sign):
        end, integer = _behind_number(data, place, stop)
        if end >= 0:
            return end, INTEGER if integer else FLOAT
        if _matches(data, place, stop, _MINUS_INFINITY_TEXT):
            return place + 9, NOT_FINITE
        return -1, NULL
    if _matches(data, place, stop, _NULL_TEXT):
        return place + 4, NULL
    if _matches(data, place, stop, _TRUE_TEXT):
        return place + 4, TRUE
    if _matches(data, place, stop, _FALSE_TEXT):
        return place + 5, FALSE
    if _matches(data, place, stop, _NAN_TEXT):
        return place + 3, NOT_FINITE
    if _matches(data, place, stop, _INFINITY_TEXT):
        return place + 8, NOT_FINITE
    return -1, NULL


@compiled
def _twice(values):
    more = np.empty(2 * len(values), values.dtype)
    more[: len(values)] = values
    return more


@compiled
def _more_slots(hashes, keys, size):
    slots = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    for key in range(keys):
        for probe in range(_MOST_PROBES):
            slot = np.int64((hashes[key] + np.uint64(probe)) & mask)
            if slots[slot] < 0:
                slots[slot] = key
                break
    return slots


@compiled
def scan(data, offsets, most_depth, seed):
    """Read the texts that lie in `data` between `offsets`.

    Gives for each text its fault (OK, NOT_JSON, TOO_DEEP) and its root node (-1 without one); for
    each node its kind, its place in `data` (strings without their quotes), the node behind it and
    its key, a number (-1 outside of objects); and for each key where its bytes lie and whether it
    holds escapes.
    """
    texts = len(offsets) - 1
    capacity = texts + (offsets[-1] - offsets[0]) // _BYTES_A_NODE + 1
    fault = np.zeros(texts, np.uint8)
    root = np.full(texts, -1, np.int32)
    kind = np.empty(capacity, np.uint8)
    start = np.empty(capacity, np.int32)
    stop = np.empty(capacity, np.int32)
    behind = np.empty(capacity, np.int32)
    key = np.empty(capacity, np.int32)
    key_start = np.empty(_FIRST_SLOTS, np.int32)
    key_stop = np.empty(_FIRST_SLOTS, np.int32)
    key_escaped = np.empty(_FIRST_SLOTS, np.bool_)
    hashes = np.empty(_FIRST_SLOTS, np.uint64)
    slots = np.full(4 * _FIRST_SLOTS, -1, np.int32)
    open_nodes = np.empty(most_depth, np.int32)
    text = nodes = keys = 0
    while True:
        text, nodes, keys = _scan_some(
            data, offsets, text, nodes, keys, seed, fault, root, kind, start, stop, behind, key,
            key_start, key_stop, key_escaped, hashes, slots, open_nodes,
        )  # fmt: skip
        if text == texts:
            break
        # The loop over bytes is quick because its arrays are always the same; these were full.
        if keys == len(hashes):
            key_start, key_stop = _twice(key_start), _twice(key_stop)
            key_escaped, hashes = _twice(key_escaped), _twice(hashes)
            slots = _more_slots(hashes, keys, 2 * len(slots))
        else:
            kind, start, stop = _twice(kind), _twice(start), _twice(stop)
            behind, key = _twice(behind), _twice(key)
    return (
        fault,
        root,
        kind[:nodes],
        start[:nodes],
        stop[:nodes],
        behind[:nodes],
        key[:nodes],
        key_start[:keys],
        key_stop[:keys],
        key_escaped[:keys],
    )


@compiled_lean
def _scan_some(
    data, offsets, text, nodes, keys, seed, fault, root, kind, start, stop, behind, key,
    key_start, key_stop, key_escaped, hashes, slots, open_nodes,
):  # fmt: skip
    """Read from `text` on; give the text that is next, as soon as there is no room for it."""
    mask = np.uint64(len(slots) - 1)
    most_depth = len(open_nodes)
    while text < len(fault):
        place = np.int64(offsets[text])
        end = np.int64(offsets[text + 1])
        first = nodes
        depth = 0
        found = NOT_JSON
        wants_key = False
        this_key = -1
        while True:
            place = _behind_blanks(data, place, end)
            if place >= end:
                break
            if wants_key:
                if data[_at(place)] != _QUOTE:
                    break
                quote, escaped = _closing_quote(data, place + 1, end)
                if quote < 0:
                    break
                from_ = place + 1
                size = quote - from_
                value = hash_of(data, from_, quote, seed)
                this_key = -1
                for probe in range(_MOST_PROBES):
                    slot = np.int64((value + np.uint64(probe)) & mask)
                    known = slots[slot]
                    if known < 0:
                        break
                    if (
                        hashes[known] == value
                        and key_stop[known] - key_start[known] == size
                        and same_bytes(data, key_start[known], from_, size)
                    ):
                        this_key = known
                        break
                if this_key < 0:
                    if keys == len(hashes):
                        return text, first, keys
                    if known < 0:
                        slots[slot] = keys
                    this_key = keys
                    hashes[keys] = value
                    key_start[keys] = from_
                    key_stop[keys] = quote
                    key_escaped[keys] = escaped
                    keys += 1
                place = _behind_blanks(data, quote + 1, end)
                if place >= end or data[_at(place)] != _COLON:
                    break
                place = _behind_blanks(data, place + 1, end)
                if place >= end:
                    break
            if nodes == len(kind):
                return text, first, keys
            node = nodes
            nodes += 1
            key[_at(node)] = this_key
            sign = data[_at(place)]
            if sign == _OPEN_OBJECT or sign == _OPEN_ARRAY:
                if depth == most_depth:
                    found = TOO_DEEP
                    break
                kind[_at(node)] = OBJECT if sign == _OPEN_OBJECT else ARRAY
                start[_at(node)] = place
                open_nodes[depth] = node
                depth += 1
                wants_key = sign == _OPEN_OBJECT
                this_key = -1
                place = _behind_blanks(data, place + 1, end)
                if place >= end:
                    break
                if data[_at(place)] != (_CLOSE_OBJECT if wants_key else _CLOSE_ARRAY):
                    continue
            elif sign == _QUOTE:
                quote, escaped = _closing_quote(data, place + 1, end)
                if quote < 0:
                    break
                kind[_at(node)] = ESCAPED if escaped else STRING
                start[_at(node)] = place + 1
                stop[_at(node)] = quote
                behind[_at(node)] = nodes
                place = quote + 1
            else:
                to, scalar = _behind_scalar(data, place, end)
                if to < 0:
                    break
                kind[_at(node)] = scalar
                start[_at(node)] = place
                stop[_at(node)] = to
                behind[_at(node)] = nodes
                place = to
            # A value has ended; so may the objects and arrays that it is the last of.
            goes_on = False
            while depth > 0:
                place = _behind_blanks(data, place, end)
                if place >= end:
                    break
                above = open_nodes[depth - 1]
                in_object = kind[_at(above)] == OBJECT
                if data[_at(place)] == _COMMA:
                    place += 1
                    wants_key = in_object
                    this_key = -1
                    goes_on = True
                    break
                if data[_at(place)] != (_CLOSE_OBJECT if in_object else _CLOSE_ARRAY):
                    break
                place += 1
                stop[_at(above)] = place
                behind[_at(above)] = nodes
                depth -= 1
            if goes_on:
                continue
            if depth == 0 and _behind_blanks(data, place, end) == end:
                found = OK
            break
        fault[text] = found
        if found == OK:
            root[text] = first
        else:
            nodes = first
        text += 1
    return text, nodes, keys


@compiled
def fields(kind, behind, key, owners, column_of_key, columns):
    """Give the node of each column (a row each) in each owner, -1 where it has none.

    Owners that are no object have none. Of a repeated key the last value stays.
    """
    found = np.full((columns, len(owners)), -1, np.int32)
    for place in range(len(owners)):
        owner = owners[place]
        if owner < 0 or kind[_at(owner)] != OBJECT:
            continue
        node = owner + 1
        while node < behind[_at(owner)]:
            column = column_of_key[key[_at(node)]]
            if column >= 0:
                found[column, place] = node
            node = behind[_at(node)]
    return found


@compiled
def children(kind, behind, key, keys, owners, container):
    """Give the children of owners of one kind, and where those of each owner begin.

    An object's repeated key counts once, in its last place.
    """
    size = 0
    for owner in owners:
        if owner >= 0 and kind[_at(owner)] == container:
            node = owner + 1
            while node < behind[_at(owner)]:
                size += 1
                node = behind[_at(node)]
    found = np.empty(size, np.int32)
    offsets = np.zeros(len(owners) + 1, np.int32)
    seen_by = np.full(keys, -1, np.int32)
    seen_at = np.empty(keys, np.int32)
    size = 0
    for place in range(len(owners)):
        owner = owners[place]
        first = size
        repeated = False
        if owner >= 0 and kind[_at(owner)] == container:
            node = owner + 1
            while node < behind[_at(owner)]:
                if container == OBJECT:
                    name = key[_at(node)]
                    if seen_by[name] == place:
                        found[seen_at[name]] = -1
                        repeated = True
                    seen_by[name] = place
                    seen_at[name] = size
                found[size] = node
                size += 1
                node = behind[_at(node)]
        if repeated:
            kept = first
            for n in range(first, size):
                if found[n] >= 0:
                    found[kept] = found[n]
                    kept += 1
            size = kept
        offsets[place + 1] = size
    return found[:size], offsets


@compiled_lean
def _fetch_early(data, start, nodes, n):
    if n < len(nodes) and nodes[_at(n)] >= 0:
        fetch_early(data, _at(start[_at(nodes[_at(n)])]))


@compiled_lean
def _put(data, place, stop, out, at):
    for n in range(np.int64(stop) - np.int64(place)):
        out[_at(at + n)] = data[_at(place + n)]
    return at + (np.int64(stop) - np.int64(place))


@compiled_lean
def _put_utf8(out, at, code):
    if code < 0x80:
        out[_at(at)] = code
        return at + 1
    if code < 0x800:
        out[_at(at)] = 0xC0 | (code >> 6)
        out[_at(at + 1)] = 0x80 | (code & 0x3F)
        return at + 2
    if code < 0x10000:
        out[_at(at)] = 0xE0 | (code >> 12)
        out[_at(at + 1)] = 0x80 | ((code >> 6) & 0x3F)
        out[_at(at + 2)] = 0x80 | (code & 0x3F)
        return at + 3
    out[_at(at)] = 0xF0 | (code >> 18)
    out[_at(at + 1)] = 0x80 | ((code >> 12) & 0x3F)
    out[_at(at + 2)] = 0x80 | ((code >> 6) & 0x3F)
    out[_at(at + 3)] = 0x80 | (code & 0x3F)
    return at + 4


@compiled_lean
def _code_unit(data, place):
    code = 0
    for n in range(4):
        code = (code << 4) | np.int64(_HEX[data[_at(place + n)]])
    return code


@compiled_lean
def _put_unescaped(data, place, stop, out, at):
    """Write a string without its escapes; NUL and half a surrogate pair become U+FFFD."""
    while place < stop:
        if stop - place >= WORD:
            # Behind an escape less is written than was read: there is room for a whole word.
            word = word_at(data, _at(place))
            put_word(out, _at(at), word)
            marks = mark_backslashes(word)
            plain = WORD if marks == 0 else first_marked(marks)
            place += plain
            at += plain
            if marks == 0:
                continue
        sign = data[_at(place)]
        if sign != _BACKSLASH:
            out[_at(at)] = sign
            at += 1
            place += 1
        elif data[_at(place + 1)] != _U:
            out[_at(at)] = _ESCAPES[data[_at(place + 1)]]
            at += 1
            place += 2
        else:
            code = _code_unit(data, place + 2)
            place += 6
            if code == 0:
                code = 0xFFFD
            elif 0xD800 <= code < 0xE000:
                low = 0
                if (
                    code < 0xDC00
                    and stop - place >= 6
                    and data[_at(place)] == _BACKSLASH
                    and data[_at(place + 1)] == _U
                ):
                    low = _code_unit(data, place + 2)
                if 0xDC00 <= low < 0xE000:
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    place += 6
                else:
                    code = 0xFFFD
            at = _put_utf8(out, at, code)
    return at


@compiled_lean
def _put_without_blanks(data, place, stop, out, at):
    """Write an object or array without the blanks between its tokens."""
    in_string = False
    while place < stop:
        sign = data[_at(place)]
        if in_string and sign == _BACKSLASH:
            out[_at(at)] = sign
            at += 1
            place += 1
            sign = data[_at(place)]
        elif sign == _QUOTE:
            in_string = not in_string
        elif not in_string and sign <= _SPACE:
            place += 1
            continue
        out[_at(at)] = sign
        at += 1
        place += 1
    return at


@compiled
def texts(data, kind, start, stop, nodes, spare_of, spare, spare_offsets):
    """Give the text of each node, as offsets into bytes, and which nodes have one.

    Strings are without escapes, objects and arrays without blanks; a null has no text. Where
    `spare_of` (empty, or a number for each node) is not negative, the text is that one of the
    spare texts instead.
    """
    size = np.int64(len(spare))
    for n in range(len(nodes)):
        node = nodes[n]
        if node >= 0 and kind[_at(node)] != NULL:
            size += stop[_at(node)] - start[_at(node)]
    out = np.empty(size, np.uint8)
    offsets = np.zeros(len(nodes) + 1, np.int32)
    has = np.zeros(len(nodes), np.bool_)
    at = np.int64(0)
    for n in range(len(nodes)):
        _fetch_early(data, start, nodes, n + _NODES_AHEAD)
        node = nodes[n]
        if len(spare_of) > 0 and spare_of[n] >= 0:
            has[n] = True
            at = _put(spare, spare_offsets[spare_of[n]], spare_offsets[spare_of[n] + 1], out, at)
        elif node >= 0 and kind[_at(node)] != NULL:
            has[n] = True
            if kind[_at(node)] == ESCAPED:
                at = _put_unescaped(data, start[_at(node)], stop[_at(node)], out, at)
            elif kind[_at(node)] >= OBJECT:
                at = _put_without_blanks(data, start[_at(node)], stop[_at(node)], out, at)
            else:
                at = _put(data, start[_at(node)], stop[_at(node)], out, at)
        offsets[n + 1] = at
    return out[:at], offsets, has


@compiled_lean
def _whole_number(data, place, stop):
    """Read `-` and digits; give the number and whether it is one that 64 bits hold."""
    negative = place < stop and data[_at(place)] == _MINUS
    if negative:
        place += 1
    digits = stop - place
    if digits < 1 or digits > 19:
        return np.int64(0), False
    value = np.uint64(0)
    while place < stop:
        if not _is_digit(data[_at(place)]):
            return np.int64(0), False
        value = value * np.uint64(10) + np.uint64(data[_at(place)] - _ZERO)
        place += 1
    if negative:
        if value > np.uint64(1 << 63):
            return np.int64(0), False
        return -np.int64(value), True
    if value > np.uint64((1 << 63) - 1):
        return np.int64(0), False
    return np.int64(value), True


@compiled
def integers(data, kind, start, stop, nodes, of_strings):
    """Give the whole number of each node, and whether it is ABSENT, FOUND or OTHER.

    OTHER are numbers with a fraction or an exponent, and those that 64 bits can't hold.
    `of_strings` says whether a string that spells a number is one.
    """
    values = np.zeros(len(nodes), np.int64)
    state = np.zeros(len(nodes), np.uint8)
    for n in range(len(nodes)):
        _fetch_early(data, start, nodes, n + _NODES_AHEAD)
        node = nodes[n]
        if node < 0:
            continue
        is_string = kind[_at(node)] == STRING
        if is_string and not of_strings:
            continue
        if not is_string and kind[_at(node)] != INTEGER and kind[_at(node)] != FLOAT:
            continue
        if kind[_at(node)] != FLOAT:
            values[n], found = _whole_number(data, start[_at(node)], stop[_at(node)])
            if found:
                state[n] = FOUND
                continue
        if (
            not is_string
            or _behind_number(data, start[_at(node)], stop[_at(node)])[0] == stop[_at(node)]
        ):
            state[n] = OTHER
    return values, state
