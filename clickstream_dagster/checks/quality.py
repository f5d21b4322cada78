"""Checks on what a batch has made of its requests: every record accounted for, and of what quality.

The assets return these results from the counters of the batch that they have just written: no
second scan, and the windows that are judged are exactly those of the run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from clickstream_dagster.processing.counters import BatchCounters

Counters = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Shares between 0 and 1 that the quality checks hold a batch to, and how long a project may
    be without events."""

    max_bad_ratio: float
    max_late_ratio: float
    min_ua_coverage: float
    min_geo_coverage: float
    max_silence_hours: int


class JudgedProject(Protocol):
    """What the checks must know of a project: its assets' keys, its bounds, what it looks up."""

    def key(self, *path: str) -> dg.AssetKey: ...

    @property
    def bounds(self) -> Bounds: ...

    @property
    def enrichments(self) -> tuple[str, ...]: ...

    @property
    def geo_database(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class RatioCheck:
    """A share of two sums of counters, and the side of its bound on which it should be."""

    name: str
    asset: str
    description: str
    part: str
    whole: str
    bound: Callable[[Bounds], float]
    at_most: bool

    def result(
        self, key: dg.AssetKey, total: Counters, bounds: Bounds, span: Mapping[str, int | str]
    ) -> dg.AssetCheckResult:
        """Judge the sums of counters `total`; a batch without events passes."""
        whole, bound = total[self.whole], self.bound(bounds)
        ratio = total[self.part] / whole if whole else None
        passed = ratio is None or (ratio <= bound if self.at_most else ratio >= bound)
        return dg.AssetCheckResult(
            check_name=self.name,
            asset_key=key,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "ratio": 0.0 if ratio is None else round(ratio, 6),
                "at_most" if self.at_most else "at_least": bound,
                self.part: total[self.part],
                self.whole: whole,
                **span,
            },
        )


BALANCE = "every_record_accounted_for"

RATIOS = (
    RatioCheck(
        "bad_ratio",
        "bad_event",
        "Share of events that could not be read; they are in bad_event with their reasons.",
        "bad",
        "events",
        lambda bounds: bounds.max_bad_ratio,
        at_most=True,
    ),
    RatioCheck(
        "late_ratio",
        "ods_event",
        "Share of written events that arrived more than an hour after their time.",
        "late",
        "written",
        lambda bounds: bounds.max_late_ratio,
        at_most=True,
    ),
    RatioCheck(
        "user_agent_coverage",
        "ods_event",
        "Share of written events whose user agent was recognised.",
        "ua_found",
        "written",
        lambda bounds: bounds.min_ua_coverage,
        at_most=False,
    ),
    RatioCheck(
        "place_coverage",
        "ods_event",
        "Share of written events whose address has a place in the geo database.",
        "geo_found",
        "written",
        lambda bounds: bounds.min_geo_coverage,
        at_most=False,
    ),
)


def quality_checks(project: JudgedProject) -> tuple[RatioCheck, ...]:
    """Give the ratio checks that apply: coverage only of what the project looks up."""
    skipped = set()
    if not project.enriches("ua"):
        skipped.add("user_agent_coverage")
    if not project.enriches("ip") or project.geo_database is None:
        skipped.add("place_coverage")
    return tuple(check for check in RATIOS if check.name not in skipped)


def check_specs(project: JudgedProject) -> list[dg.AssetCheckSpec]:
    """Give the specs of all checks that the events assets return."""
    return [
        dg.AssetCheckSpec(
            BALANCE,
            asset=project.key("ods_event"),
            blocking=True,
            description="Requests in = decoded + bad requests; events in = written + duplicate "
            "+ too old + foreign app + bad. A window that does not add up stops its models.",
        ),
        *(
            dg.AssetCheckSpec(
                check.name, asset=project.key(check.asset), description=check.description
            )
            for check in quality_checks(project)
        ),
    ]


def check_results(
    project: JudgedProject, counters: Mapping[str, Counters]
) -> Iterator[dg.AssetCheckResult]:
    """Judge the counters of a run's partitions: the balance of each, the ratios of all together."""
    wrong = {
        partition: problem
        for partition, found in counters.items()
        if (problem := BatchCounters(**found).imbalance()) is not None
    }
    windows = list(counters)
    span = {"windows": len(windows), "first_window": windows[0], "last_window": windows[-1]}
    yield dg.AssetCheckResult(
        check_name=BALANCE,
        asset_key=project.key("ods_event"),
        passed=not wrong,
        description="; ".join(f"{partition}: {problem}" for partition, problem in wrong.items())
        or None,
        metadata=span,
    )
    names = {name for found in counters.values() for name in found}
    total = {name: sum(found.get(name, 0) for found in counters.values()) for name in names}
    for check in quality_checks(project):
        yield check.result(project.key(check.asset), total, project.bounds, span)
