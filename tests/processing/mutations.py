"""Records that went wrong on their way, in every manner that a seeded random can think of.

A record is made bad at one of its levels: the values of an event, the JSON text of the body, its
bytes, its packing, the envelope, or the line in the raw object.
"""

import base64
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

from clickstream_dagster.sample.command import generate_files
from clickstream_dagster.sample.plan import TrafficPlan
from tests.processing.records_input import NOW_MS, event, record

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
ODD_VALUES: tuple[Callable[[Random], object], ...] = (
    lambda chance: None,
    lambda chance: chance.choice([True, False]),
    lambda chance: chance.choice([0, -1, -(2**63), 2**63 - 1, 2**63, 2**64, -(2**64)]),
    lambda chance: int("9" * chance.choice([20, 25, 400])),
    lambda chance: chance.choice([0.1, -0.0, 1e308, 1.5e-300, 3.0, 1e19, 123456789.123]),
    lambda chance: chance.choice([float("nan"), float("inf"), float("-inf")]),
    lambda chance: chance.choice(["", " ", "null", "0", "007", "1e5", "-1", "NaN", "true", "[]"]),
    lambda chance: str(chance.randrange(10 ** chance.randrange(1, 30))),
    lambda chance: chance.choice(
        ["é", "名前", "😀", "\ud800", "\udc00x", "a\0b", "\ufeff", "\u2028"]
    ),
    lambda chance: "x" * chance.choice([49, 50, 51, 255, 256, 1_024, 1_025, 65_535, 65_536]),
    lambda chance: [],
    lambda chance: {},
    lambda chance: [[[1, {"a": [None]}]], "b"],
    lambda chance: {"value": {"value": 1}, "set_timestamp": "soon"},
    lambda chance: nested(chance.choice([5, 200, 251, 300]), chance),
    lambda chance: list(range(chance.choice([1, 100, 3_000]))),
)
SIZES = (*range(1, 5), 100, 1_000_000)


def nested(levels: int, chance: Random) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value] if chance.random() < 0.5 else {"k": value}
    return value


def odd(chance: Random) -> object:
    return chance.choice(ODD_VALUES)(chance)


def dumps(value: object, chance: Random) -> str:
    return json.dumps(
        value,
        ensure_ascii=chance.random() < 0.5 or "\\ud" in json.dumps(value),
        indent=chance.choice([None, None, 1]),
        separators=chance.choice([None, (",", ":")]),
    )


# What happens to the values of an event.


def odd_field(one: dict, chance: Random) -> None:
    one[chance.choice([*one, "device", "unheard_of"])] = odd(chance)


def no_field(one: dict, chance: Random) -> None:
    del one[chance.choice(list(one))]


def odd_time(one: dict, chance: Random) -> None:
    one["timestamp"] = chance.choice(
        [
            *(0, -1, NOW_MS // 1000, NOW_MS * 1000, str(NOW_MS), f"{NOW_MS}.7", "now", 2**70),
            *(946_684_799_999, 946_684_800_000, 4_102_444_799_999, 4_102_444_800_000),
            *(NOW_MS - 72 * 3_600_000, NOW_MS - 100 * 3_600_000, NOW_MS + 10**9, NOW_MS + 0.5),
        ]
    )


def odd_attribute(one: dict, chance: Random) -> None:
    name = chance.choice(["a", "_b", "1c", "", "ü", "a b", "x" * 51, "_page_url", "_channel"])
    one[chance.choice(["attributes", "user"])] = {
        "kept": 1,
        name: odd(chance),
        "_user_id": {"value": odd(chance), "set_timestamp": odd(chance)},
    }


def many_attributes(one: dict, chance: Random) -> None:
    count = chance.choice([99, 100, 101, 500, 501, 700])
    one[chance.choice(["attributes", "user"])] = {
        f"a{n}": {"value": n, "set_timestamp": NOW_MS} for n in range(count)
    }


def odd_items(one: dict, chance: Random) -> None:
    one["items"] = chance.choice([odd(chance), [odd(chance), {"id": odd(chance), "price": 1}]])


def odd_name(one: dict, chance: Random) -> None:
    one["event_type"] = chance.choice(["", "1st", "a b", "ü", "x" * 50, "x" * 51, "_first_open", 7])


def of_foreign_app(one: dict, chance: Random) -> None:
    one["app_id"] = chance.choice(["other", "shop2", " shop", "SHOP"])


OF_EVENTS = (
    *(odd_field, no_field, odd_time, odd_attribute, many_attributes, odd_items, odd_name),
    of_foreign_app,
)

# What happens to the elements of a body.


def odd_element(events: list, chance: Random) -> None:
    events.insert(chance.randrange(len(events) + 1), odd(chance))


def doubled_event(events: list, chance: Random) -> None:
    events.append(dict(events[0]))


def no_event(events: list, chance: Random) -> None:
    events.clear()


OF_BODIES = (odd_element, doubled_event, no_event)

# What happens to the text of a body.


def other_tokens(text: str, chance: Random) -> str:
    tokens = TOKEN.findall(text)
    for _ in range(chance.randint(1, 4)):
        first, second = (chance.randrange(len(tokens)) for _ in range(2))
        deed = chance.randrange(4)
        if deed == 0:
            tokens[first], tokens[second] = tokens[second], tokens[first]
        elif deed == 1 and len(tokens) > 1:
            del tokens[first]
        elif deed == 2:
            tokens.insert(second, tokens[first])
        else:
            tokens[first] = chance.choice(
                ["NaN", "-Infinity", "1e999", "[]", "{}", '""', "01", "'"]
            )
    return "".join(tokens)


def cut_text(text: str, chance: Random) -> str:
    return text[: chance.randrange(len(text))]


def other_signs(text: str, chance: Random) -> str:
    signs = list(text)
    for _ in range(chance.randint(1, 5)):
        signs[chance.randrange(len(signs))] = chance.choice('{}[]",:\\\0\x01\x1f\t\n é😀0-+.eEu')
    return "".join(signs)


def key_twice(text: str, chance: Random) -> str:
    return text.replace(
        '"platform"', chance.choice(['"app_id"', '"attributes"', '"\\u0061pp_id"', '"platform"']), 1
    )


def marked(text: str, chance: Random) -> str:
    return chance.choice(["\ufeff", " \n\t", "\0", "\ufeff\ufeff", "\u00a0"]) + text


def deep(text: str, chance: Random) -> str:
    levels = chance.choice([10, 250, 255, 300, 100_000])
    return "[" * levels + text + "]" * levels


def other_body(text: str, chance: Random) -> str:
    return chance.choice(
        ["", " ", "null", "true", "0", '"text"', "{}", "[]", "[[]]", "[null]", "nan", "hello", "{"]
    )


def enlarged(text: str, chance: Random) -> str:
    return text.replace('"user-1"', json.dumps("u" * chance.choice(SIZES)), 1)


OF_TEXTS = (
    *(other_tokens, other_tokens, cut_text, other_signs, other_signs, key_twice, marked, deep),
    *(other_body, enlarged),
)

# What happens to bytes.


def flipped(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3) if data else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def with_odd_bytes(data: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    odd_bytes = chance.choice([b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xc3", b"\xef\xbb\xbf"])
    return data[:place] + odd_bytes + data[place:]


def without_a_part(data: bytes, chance: Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.randrange(1, 40) :]


def nothing(data: bytes, chance: Random) -> bytes:
    return b""


OF_BYTES = (flipped, flipped, cut, with_odd_bytes, without_a_part, nothing)

# What happens to an envelope.

FIELDS = ("rid", "ip", "ua", "uri", "platform", "appId", "ingest_time", "client_timestamp", "data")


def odd_envelope(fields: dict, chance: Random) -> None:
    fields[chance.choice([*FIELDS, "timestamp", "date", "headers"])] = odd(chance)


def no_envelope_field(fields: dict, chance: Random) -> None:
    fields.pop(chance.choice(FIELDS), None)


def odd_arrival(fields: dict, chance: Random) -> None:
    fields["ingest_time"] = chance.choice([0, -1, 10**18, "soon", None, str(NOW_MS), NOW_MS + 0.4])
    fields["timestamp"] = chance.choice(["2026-01-01T00:00:01Z", "2026-13-01", 5, "9999-12-31", ""])


def odd_clock(fields: dict, chance: Random) -> None:
    fields["client_timestamp"] = chance.choice([NOW_MS + 10**10, NOW_MS - 10**10, 0, -5, 2**62])


def odd_query(fields: dict, chance: Random) -> None:
    fields["uri"] = "/collect?" + chance.choice(
        ["event_bundle_sequence_id=99999999999999999999", "upload_timestamp=-1", "&&==", "%zz", "é"]
    )


def long_headers(fields: dict, chance: Random) -> None:
    fields |= {f"header-{n}": "h" * 4_000 for n in range(chance.choice([1, 6]))}


OF_ENVELOPES = (
    *(odd_envelope, no_envelope_field, odd_arrival, odd_clock, odd_query, long_headers),
)


def generated_records(folder: Path) -> list[dict]:
    """Give records of the traffic generator, the events of each under `data`."""
    generate_files(TrafficPlan(events=2_000, days=1, seed=5), folder)
    records: list[dict] = []
    for file in sorted(folder.rglob("*.log.gz")):
        for line in gzip.decompress(file.read_bytes()).splitlines():
            fields = json.loads(line)
            try:
                body = fields["data"]
                if not body.startswith("["):
                    body = gzip.decompress(base64.b64decode(body))
                records.append(fields | {"data": json.loads(body)})
            except (ValueError, OSError, EOFError):
                continue  # the generator damages some bodies of its own
    return records


def mutated_line(number: int, chance: Random, generated: list[dict]) -> bytes:
    """Give the line of a record that is bad in one or two manners, or just odd.

    Its request is `m<number>` and its events `m<number>-0` and on, as long as that survives.
    """
    fields = record(None, ingest_time=NOW_MS + 1_000 + number % 1_000)
    events: list = [
        event("", timestamp=NOW_MS - n, attributes={"n": n, "s": f"é{n}"})
        for n in range(chance.choice([1, 1, 2, 5]))
    ]
    if chance.random() < 0.5:
        fields = dict(chance.choice(generated))
        events = [dict(one) for one in fields["data"]]
    fields["rid"] = f"m{number}"
    for n, one in enumerate(events):
        one |= {"event_id": f"m{number}-{n}", "app_id": "shop"}
    level = chance.choice(
        ["event", "event", "body", "text", "bytes", "packing", "envelope", "line"]
    )
    if level == "event":
        for _ in range(chance.randint(1, 2)):
            one = chance.choice(events)
            if one:
                chance.choice(OF_EVENTS)(one, chance)
    elif level == "body":
        chance.choice(OF_BODIES)(events, chance)
    text = dumps(events, chance)
    if level == "text":
        text = chance.choice(OF_TEXTS)(text, chance)
    fields["data"] = packing(text, level, chance)
    if level == "envelope":
        chance.choice(OF_ENVELOPES)(fields, chance)
    line = dumps(fields, chance).replace("\n", " ").encode(errors="surrogatepass")
    if level == "line":
        line = chance.choice(OF_BYTES)(line, chance)
    return line.replace(b"\n", b" ")


def packing(text: str, level: str, chance: Random) -> str:
    """Give the body as a client sends it: as it is, or as base64 of gzip or of the text."""
    data = text.encode(errors="surrogatepass")
    if level == "bytes":
        data = chance.choice(OF_BYTES)(data, chance)
    elif level != "packing" and chance.random() < 0.6:
        return text
    kind = chance.choice(["gzip", "gzip", "text"])
    packed = gzip.compress(data, mtime=0) if kind == "gzip" else data
    if level == "packing" and chance.random() < 0.5:
        packed = chance.choice(OF_BYTES)(packed, chance)
    encoded = base64.b64encode(packed)
    if level == "packing":
        encoded = chance.choice(OF_BYTES)(encoded, chance)
    return encoded.decode("latin-1")
