"""What must become of a record, told by plain Python: another reading of the rules, slow, simple.

It knows the rules of seed 000 and of `BadReason`, and none of the code of processing.
"""

import base64
import binascii
import gzip
import json
import re
import sys
import zlib
from dataclasses import dataclass

MOST_LEVELS = 256
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
YEARS = range(946_684_800_000, 4_102_444_800_000)
BLANK = " \t\r\n"

sys.set_int_max_str_digits(0)  # JSON may hold numbers of any length


@dataclass(frozen=True)
class Expected:
    """What a line holds: the elements of its body, or None when no event can be read.

    `text` is the text of the body; a body that is not sent as a text has none.
    """

    elements: list | None
    text: str | None = None


def levels(text: str) -> int:
    """Give how deep a JSON text is nested."""
    deepest = level = 0
    for sign in re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL):
        level += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, level)
    return deepest


def read_json(text: str) -> tuple[bool, object]:
    """Give whether a text is JSON within the bound of nesting, and its value."""
    if levels(text) > MOST_LEVELS:
        return False, None
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def expected_of(line: bytes) -> Expected:
    """Give what a line must give."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Expected(None)
    is_json, fields = read_json(text)
    if not is_json or not isinstance(fields, dict):
        return Expected(None)
    data = fields.get("data")
    if isinstance(data, str):
        # What no warehouse takes is exchanged for a sign of its own: NUL and half pairs.
        data = re.sub("[\0\ud800-\udfff]", "\ufffd", joined_pairs(data))
        return expected_of_body(data)
    if isinstance(data, list):
        return Expected(data)
    return Expected([data]) if isinstance(data, dict) else Expected(None)


def joined_pairs(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def expected_of_body(data: str) -> Expected:
    text = data.lstrip(BLANK + "\ufeff").rstrip(BLANK)
    if not text:
        return Expected(None)
    if text[0] not in "[{" and text not in ("null", "true", "false"):
        found = unpacked(text)
        if found is None:
            return Expected(None)
        text = found.lstrip(BLANK + "\ufeff").rstrip(BLANK)
    is_json, value = read_json(f"[{text}]" if text.startswith("{") else text)
    return Expected(value, text) if is_json and isinstance(value, list) else Expected(None)


def unpacked(text: str) -> str | None:
    letters = "".join(text.split())
    try:
        data = base64.b64decode(letters.encode("ascii") + b"=" * (-len(letters) % 4), validate=True)
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        return data.decode()
    except (binascii.Error, UnicodeError, zlib.error, OSError, EOFError):
        return None


def is_surely_good(element: object) -> bool:
    """Whether an event has all that it needs, each with the type that the SDKs send."""
    return (
        isinstance(element, dict)
        and all(
            isinstance(element.get(name), str) and 0 < len(element[name]) <= most
            for name, most in (("event_id", 255), ("app_id", 255), ("unique_id", 255))
        )
        and isinstance(element.get("event_type"), str)
        and len(element["event_type"]) <= 50
        and NAME.fullmatch(element["event_type"]) is not None
        and type(element.get("timestamp")) is int
        and element["timestamp"] in YEARS
    )


def is_surely_bad(element: object) -> bool:
    """Whether an event lacks something that it needs, or breaks a rule beyond doubt."""
    if not isinstance(element, dict):
        return True
    needed = ("event_id", "app_id", "unique_id", "event_type", "timestamp")
    if any(element.get(name) in (None, "") for name in needed):
        return True
    name, moment = element["event_type"], element["timestamp"]
    return (
        (isinstance(name, str) and (len(name) > 50 or NAME.fullmatch(name) is None))
        or (type(moment) is int and moment not in YEARS)
        or any(
            isinstance(element[name], str) and len(element[name]) > 255
            for name in ("event_id", "app_id", "unique_id")
        )
    )
