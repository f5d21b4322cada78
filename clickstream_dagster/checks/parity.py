"""Whether the warehouses of a project agree: counts and sums of each day, compared between engines.

The numbers are those of the daily reports, which are tables by day in every warehouse: a comparison
reads neither events nor sessions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from clickstream_dagster.errors import ClickstreamError

NAME = "equal_in_all_warehouses"
MEASURES = {
    "clickstream_active_users_daily": (
        *("daily_active_users", "weekly_active_users", "monthly_active_users", "new_users"),
        *("event_count", "view_count", "engagement_time", "purchase_count"),
    ),
    "clickstream_engagement_daily": (
        *("session_count", "engaged_session_count", "bounced_session_count"),
        *("session_views", "session_engagement_time"),
    ),
    "clickstream_retention_daily": ("returned_user_count",),
    "clickstream_path_transition_daily": ("step", "transition_count", "user_count"),
    "clickstream_funnel_daily": ("user_count",),
}
"""What is summed of each table, by app and day. Floating-point sums depend on the order of rows,
and are not among them."""

MOST_SHOWN = 100

Query = Callable[[str], Sequence[Sequence[object]]]
"""A way to a warehouse: gives the rows of a query."""

Numbers = dict[tuple[str, str], dict[str, int]]
"""The sums of the measures by app and day (`YYYY-MM-DD`)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A sum that two warehouses have differently; None where one has no row of that day."""

    app_id: str
    report_date: str
    measure: str
    expected: int | None
    found: int | None


def numbers_since(query: Query, schema: str, since: date) -> Numbers:
    """Give the numbers of a warehouse from a day on, in SQL that every engine takes."""
    found: Numbers = {}
    for table, measures in MEASURES.items():
        sums = ", ".join(f"cast(sum({measure}) as bigint)" for measure in measures)
        rows = query(
            f"select app_id, cast(report_date as varchar(10)), {sums}"
            f' from "{schema}"."{table}" where report_date >= date \'{since.isoformat()}\''
            " group by app_id, report_date"
        )
        for app_id, day, *values in rows:
            told = found.setdefault((str(app_id), str(day)), {})
            for measure, value in zip(measures, values, strict=True):
                told[measure] = int(str(value or 0))
    return found


def differences(expected: Numbers, found: Numbers) -> list[Difference]:
    """Give what two warehouses have differently, in the order of apps and days."""
    differing = []
    for key in sorted(expected.keys() | found.keys()):
        left, right = expected.get(key, {}), found.get(key, {})
        differing += [
            Difference(*key, measure, left.get(measure), right.get(measure))
            for measures in MEASURES.values()
            for measure in measures
            if left.get(measure) != right.get(measure)
        ]
    return differing


def parity_check(
    key: Callable[..., dg.AssetKey], schema: str, warehouses: Mapping[str, Query], days: int
) -> dg.AssetChecksDefinition:
    """Build the check of a project's warehouses, by engine, over the last days in UTC.

    The others are compared with the first one, behind all of them. It warns and stops nothing: a
    batch may come between the builds of two warehouses, and the next run is then equal again.
    """
    first, *others = warehouses
    tables = [key(engine, table) for engine in warehouses for table in MEASURES]

    @dg.asset_check(
        asset=tables[0],
        additional_deps=tables[1:],
        name=NAME,
        description=f"Counts and sums of each of the last {days} days are those of {first} in "
        f"{' and '.join(others)}.",
    )
    def equal_in_all_warehouses() -> dg.AssetCheckResult:
        since = datetime.now(UTC).date() - timedelta(days=days)
        try:
            numbers = {
                engine: numbers_since(query, schema, since) for engine, query in warehouses.items()
            }
        except ClickstreamError as error:
            raise dg.Failure(description=str(error)) from error
        found = {engine: differences(numbers[first], numbers[engine]) for engine in others}
        count = sum(map(len, found.values()))
        metadata: dict[str, object] = {
            "days": len({day for _, day in numbers[first]}),
            "differences": count,
        }
        for engine, differing in found.items():
            if differing:
                metadata[engine] = dg.MetadataValue.table(
                    [_record(one) for one in differing[:MOST_SHOWN]]
                )
        return dg.AssetCheckResult(
            passed=count == 0, severity=dg.AssetCheckSeverity.WARN, metadata=metadata
        )

    return equal_in_all_warehouses


def _record(one: Difference) -> dg.TableRecord:
    values = {name: getattr(one, name) for name in Difference.__dataclass_fields__}
    return dg.TableRecord(
        {name: "no row" if value is None else str(value) for name, value in values.items()}
    )
