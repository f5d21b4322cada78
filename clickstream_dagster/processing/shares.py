"""Work dealt out to tasks in equal shares."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def equal_shares(items: Sequence[T], weight: Callable[[T], int], count: int) -> list[list[T]]:
    """Deal items out to `count` shares or fewer, the heaviest first to the lightest share."""
    shares: list[list[T]] = [[] for _ in range(max(1, min(count, len(items))))]
    weights = [0] * len(shares)
    for item in sorted(items, key=weight, reverse=True):
        lightest = weights.index(min(weights))
        shares[lightest].append(item)
        weights[lightest] += weight(item)
    return shares
