"""Numbers in query strings are those that a pattern finds."""

import re

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream_dagster.processing.url_queries import query_numbers

_PATTERN = re.compile(r"[?&]number=([0-9]{1,18})(?:[&#]|\Z)")
_PARTS = st.sampled_from(
    [
        *"?&=#/",
        "number",
        "number=",
        "?number=",
        "&number=7",
        "12",
        "0",
        "9" * 18,
        "9" * 19,
        "x",
        "é",
    ]
)
_ADDRESSES = st.none() | st.lists(_PARTS, max_size=8).map("".join)


def _expected(address: str | None) -> int | None:
    match = _PATTERN.search(address or "")
    return int(match[1]) if match else None


@settings(deadline=None, max_examples=500)
@given(st.lists(_ADDRESSES, max_size=5), st.integers(0, 2))
def test_numbers_are_those_of_the_pattern(addresses: list[str | None], skipped: int) -> None:
    found = query_numbers(pa.array(addresses, pa.string()).slice(skipped), "number")
    assert found.to_pylist() == [_expected(address) for address in addresses[skipped:]]
