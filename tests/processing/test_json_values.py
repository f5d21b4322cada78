"""JSON texts become columns exactly as a reader of one text at a time would give them."""

import json
import random
import string

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream_dagster.processing import json_scan, json_values, json_words
from clickstream_dagster.processing.json_values import JsonBatch
from clickstream_dagster.processing.limits import MAX_DEPTH

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from("abcdefgh") | TEXTS, VALUES)


def read(*texts: str | None) -> JsonBatch:
    return JsonBatch(pa.array(texts, pa.string()))


def as_text(value: object, *, ascii_only: bool = True) -> str | None:
    """Give a value as a text column holds it; nested strings keep their escapes."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))


@pytest.mark.heavy
@settings(max_examples=300, deadline=None)
@given(st.lists(OBJECTS, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_members_of_objects_are_those_that_were_written(
    objects: list[dict], indent: int | None, ascii_only: bool
) -> None:
    batch = read(*(json.dumps(one, indent=indent, ensure_ascii=ascii_only) for one in objects))
    members, offsets = batch.members(batch.roots)
    assert np.diff(offsets).tolist() == [len(one) for one in objects]
    flat = [item for one in objects for item in one.items()]
    assert batch.keys_of(members).to_pylist() == [key for key, _ in flat]
    assert batch.texts(members).to_pylist() == [
        as_text(value, ascii_only=ascii_only) for _, value in flat
    ]
    assert [json.loads(batch.written(node)) for node in members] == [value for _, value in flat]
    fields = batch.fields(batch.roots, ("a", "b", "nowhere"))
    for name, nodes in fields.items():
        expected = [as_text(one.get(name), ascii_only=ascii_only) for one in objects]
        assert batch.texts(nodes).to_pylist() == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=8))
def test_elements_are_typed_by_their_json_type(values: list[object]) -> None:
    batch = read(json.dumps(values))
    elements, _ = batch.elements(batch.roots)
    typed = {name: column.to_pylist() for name, column in batch.typed(elements).items()}
    for place, value in enumerate(values):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = is_number and isinstance(value, int) and -(2**63) <= value < 2**63
        expected = {
            "double_value": float(value) if is_number and not whole else None,
            "float_value": None,
            "int_value": value if whole else None,
            "string_value": None if is_number else as_text(value),
        }
        assert {name: column[place] for name, column in typed.items()} == expected


def mutated(text: str, chance: random.Random) -> str:
    signs = list(text)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(signs) + 1)
        sign = chance.choice('{}[]",:\\ \n\t0129-+.eEuntfax\x01é')
        if chance.random() < 0.4 and place < len(signs):
            del signs[place]
        elif chance.random() < 0.5 and place < len(signs):
            signs[place] = sign
        else:
            signs.insert(place, sign)
    return "".join(signs)


def strict(text: str) -> tuple[bool, object]:
    """Read one text with another reader; this one takes half surrogate pairs, as ours does."""

    def refuse(_: str) -> object:
        raise ValueError("not a number of RFC 8259")

    try:
        return True, json.loads(text, parse_constant=refuse)
    except ValueError:
        return False, None


@pytest.mark.parametrize("seed", range(5))
def test_damaged_texts_are_told_from_whole_ones(seed: int) -> None:
    chance = random.Random(seed)
    whole = [
        '{"a": "x\\u00e9\\n", "b": [1, -2.5e3, {"c": null}], "d": true, "": {}}',
        '[{"event_id": "e1", "timestamp": 1767225600000, "user": {"k": {"value": 1}}}]',
        '[0, -0, 0.5, 1E+9, "\\ud83d\\ude00", [], [[]], false]',
        '"text"',
    ]
    texts = [mutated(chance.choice(whole), chance) for _ in range(4_000)]
    batch = read(*texts)
    good = bad = 0
    for text, fault, root in zip(texts, batch.faults, batch.roots, strict=True):
        is_json, value = strict(text)
        assert (fault == json_scan.OK) == is_json, text
        assert (root >= 0) == is_json
        if is_json:
            good += 1
            assert json.loads(batch.written(root)) == value, text
        else:
            bad += 1
    assert good > 300
    assert bad > 300


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "[1", '"open', "[1]]", "1 2", "01", "-", "1.", ".5", "1e", "+1", "tru"),
        *('{"a"}', '{"a":}', '{"a":1,}', "[1,]", "[,1]", "{,}", "{1:2}", "'a'", '"\\x"', "nul"),
        *('"\n"', "NaNa", "Infinit", "-Inf", "[1}", '{"a":1]', '"\\', '"\\u00', '"\\u12g4"'),
        '{"a":1 "b":2}',
    ],
)
def test_what_is_no_json_has_no_root(text: str) -> None:
    batch = read(text, "[1]")
    assert batch.faults.tolist() == [json_scan.NOT_JSON, json_scan.OK]
    assert batch.roots[0] == -1
    assert batch.texts(batch.roots).to_pylist() == [None, "[1]"]


def test_numbers_that_are_none_are_taken_as_texts() -> None:
    batch = read('{"a": NaN, "b": Infinity, "c": -Infinity}')
    members, _ = batch.members(batch.roots)
    assert batch.typed(members)["string_value"].to_pylist() == ["NaN", "Infinity", "-Infinity"]
    assert batch.integers(members).to_pylist() == [None] * 3
    assert batch.numbers(members).to_pylist() == [None] * 3


def test_nesting_is_bounded() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    batch = read(deepest, f"[{deepest}]", '{"a":' * 300 + "1" + "}" * 300, "[" * 1_000_000)
    assert batch.faults.tolist() == [json_scan.OK] + [json_scan.TOO_DEEP] * 3


@pytest.mark.parametrize(
    ("written", "whole", "number"),
    [
        ("42", 42, 42.0),
        ('"42"', 42, 42.0),
        ("-7", -7, -7.0),
        ("1.6", 2, 1.6),
        ('"1e3"', 1000, 1000.0),
        ("9223372036854775807", 2**63 - 1, float(2**63)),
        ("-9223372036854775808", -(2**63), -float(2**63)),
        ("9223372036854775808", None, float(2**63)),
        ("12345678901234567890123", None, 12345678901234567890123.0),
        ("1e999", None, None),
        ('"x"', None, None),
        ('""', None, None),
        ('" 5"', None, None),
        ("true", None, None),
        ("null", None, None),
        ("[1]", None, None),
    ],
)
def test_numbers_are_read_also_from_texts(
    written: str, whole: int | None, number: float | None
) -> None:
    batch = read(written)
    assert batch.integers(batch.roots).to_pylist() == [whole]
    assert batch.numbers(batch.roots).to_pylist() == [number]


def test_equal_keys_are_one_key_however_they_are_written() -> None:
    batch = read('{"ab": 1, "a\\u0062": 2, "c": 3}', '{"\\u0061b": 4}')
    assert batch.integers(batch.fields(batch.roots, ("ab",))["ab"]).to_pylist() == [2, 4]
    members, offsets = batch.members(batch.roots)
    assert batch.keys_of(members).to_pylist() == ["ab", "c", "ab"]
    assert batch.texts(members).to_pylist() == ["2", "3", "4"]
    assert offsets.tolist() == [0, 2, 3]


def test_many_different_keys_are_all_found() -> None:
    names = ["".join(pair) for pair in zip(*[iter(string.ascii_letters * 9)] * 2, strict=True)]
    keys = [f"{name}{n}" for n in range(100) for name in names]
    objects = [dict.fromkeys(keys[n : n + 700], n) for n in range(0, len(keys), 700)]
    batch = JsonBatch(pa.array([orjson.dumps(one).decode() for one in objects]))
    members, _ = batch.members(batch.roots)
    assert batch.keys_of(members).to_pylist() == [key for one in objects for key in one]
    assert sorted(set(batch.keys.to_pylist())) == sorted(set(keys))


def test_there_is_room_for_as_many_values_as_turn_up() -> None:
    values = [list(range(10))] * 2_000
    batch = read("[0]", json.dumps(values, separators=(",", ":")), '{"a":1}')
    assert batch.faults.tolist() == [json_scan.OK] * 3
    elements, offsets = batch.elements(batch.roots)
    assert offsets.tolist() == [0, 1, 2_001, 2_001]
    numbers, _ = batch.elements(elements)
    assert batch.integers(numbers).to_pylist() == list(range(10)) * 2_000
    assert batch.integers(batch.fields(batch.roots, ("a",))["a"]).to_pylist() == [None, None, 1]


def test_keys_that_were_made_to_collide_are_still_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = np.uint64(7)
    monkeypatch.setattr(json_values, "_SEED", seed)
    names = [f"k{n}" for n in range(200_000)]
    colliding = []
    for name in names:
        written = np.frombuffer(name.encode(), np.uint8)
        if int(json_words.hash_of(written, 0, len(written), seed)) % 16_384 < 16:
            colliding.append(name)
    assert len(colliding) > 150
    batch = read(*[json.dumps({name: n for n, name in enumerate(colliding)})] * 3)
    for n, name in enumerate(colliding):
        assert batch.integers(batch.fields(batch.roots, (name,))[name]).to_pylist() == [n] * 3
    assert len(batch.keys) == len(colliding)


@pytest.mark.parametrize("size", range(26))
def test_strings_end_and_escapes_stand_anywhere_in_a_word(size: int) -> None:
    for sign in ('"', "\\", "\n", "\x1f", " ", "!", "~", "\x7f", "\x80", "é", "€", "😀", "\xdc"):
        for place in range(size + 1):
            value = "x" * place + sign + "y" * (size - place)
            texts = [json.dumps({value: value}, ensure_ascii=ascii_only) for ascii_only in (0, 1)]
            batch = read(*texts)
            members, _ = batch.members(batch.roots)
            assert batch.texts(members).to_pylist() == batch.keys_of(members).to_pylist()
            assert batch.keys.to_pylist() == [value]
            bare = f'["{"x" * place}{sign}{"y" * (size - place)}"]'
            readable = sign not in '"\\' and sign >= " "
            assert (read(bare).faults == json_scan.OK).tolist() == [readable]


def test_what_no_warehouse_takes_becomes_a_sign_of_its_own() -> None:
    batch = read('["a\\u0000b", "\\ud800", "\\udc00\\ud83d\\ude00", "\\ud83d!", "\\\\u0000"]')
    elements, _ = batch.elements(batch.roots)
    assert batch.texts(elements).to_pylist() == [
        "a\ufffdb",
        "\ufffd",
        "\ufffd😀",
        "\ufffd!",
        "\\u0000",
    ]


def test_slices_nulls_and_nothing_are_read() -> None:
    whole = pa.array(["x", '{"a":1}', None, '{"a":2}', "y"])
    batch = JsonBatch(whole.slice(1, 3))
    assert batch.integers(batch.fields(batch.roots, ("a",))["a"]).to_pylist() == [1, None, 2]
    empty = JsonBatch(pa.array([], pa.string()))
    assert empty.texts(empty.roots).to_pylist() == []
    none = read(None, "broken")
    members, offsets = none.members(none.roots)
    assert (len(members), offsets.tolist()) == (0, [0, 0, 0])
    assert none.is_missing(none.roots).tolist() == [True, True]
    assert not none.is_object(none.roots).any()


def test_other_texts_take_the_place_of_some() -> None:
    batch = read('"a"', '"b"', '"c"', "null")
    others = pa.array(["longer than b", None])
    texts = batch.texts_but(batch.roots, np.array([1, 2]), others)
    assert texts.to_pylist() == ["a", "longer than b", None, None]
