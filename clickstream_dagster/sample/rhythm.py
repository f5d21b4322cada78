"""When people visit: more in the evening and at weekends, by the clock of their country."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from clickstream_dagster.sample.places import COUNTRIES
from clickstream_dagster.sample.plan import TrafficPlan

SLOT_MS = 300_000
"""Length of a slot: the traffic comes into being slot by slot, in order of time."""

_SLOTS_PER_HOUR = 3_600_000 // SLOT_MS

HOUR_WEIGHTS = (
    1.0, 0.6, 0.4, 0.3, 0.3, 0.5, 1.2, 2.4, 3.2, 3.4, 3.5, 3.7,
    4.2, 4.0, 3.6, 3.5, 3.7, 4.2, 5.0, 6.0, 6.6, 6.2, 4.4, 2.2,
)  # fmt: skip
"""Visits by local hour, from midnight."""

WEEKDAY_WEIGHTS = (1.0, 0.97, 0.98, 1.02, 1.1, 1.3, 1.35)
"""Visits by local weekday, from Monday."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time, by whose end `target` events of the whole traffic have been begun.

    `country_weights` are cumulative, in the order of COUNTRIES, for `random.choices`.
    """

    start_ms: int
    target: int
    country_weights: tuple[float, ...]


def slots(plan: TrafficPlan) -> Iterator[Slot]:
    """The slots of a plan in order of time; the target of the last one is all its events."""
    start = datetime.fromtimestamp(plan.start_ms / 1000, UTC)
    hours = [_weights(start + timedelta(hours=hour)) for hour in range(plan.days * 24)]
    total = sum(sum(weights) for weights in hours)
    before = 0.0
    for number, weights in enumerate(hours):
        here = sum(weights)
        cumulative = tuple(accumulate(weights))
        for part in range(_SLOTS_PER_HOUR):
            done = before + here * (part + 1) / _SLOTS_PER_HOUR
            last = number == len(hours) - 1 and part == _SLOTS_PER_HOUR - 1
            yield Slot(
                start_ms=plan.start_ms + (number * _SLOTS_PER_HOUR + part) * SLOT_MS,
                target=plan.events if last else int(plan.events * done / total),
                country_weights=cumulative,
            )
        before += here


def _weights(moment: datetime) -> list[float]:
    weights = []
    for country in COUNTRIES:
        local = moment + timedelta(hours=country.zone_hours)
        weights.append(country.share * HOUR_WEIGHTS[local.hour] * WEEKDAY_WEIGHTS[local.weekday()])
    return weights
