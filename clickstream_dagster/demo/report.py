"""What the demo shows when it is done: counters of the run, tables of the views."""

from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.table import Table

from clickstream_dagster.sample.plan import TrafficPlan

COUNTERS = {
    "requests": "requests came in",
    "bad_requests": "  of which could not be decoded",
    "events": "events in them",
    "written": "  written to ods_event",
    "duplicate": "  duplicates, dropped",
    "too_old": "  arrived too late, dropped",
    "foreign_app": "  of a foreign app, dropped",
    "bad": "  unreadable, in bad_event",
    "bot": "written events of bots",
    "late": "written events that came more than an hour late",
}
BOLD = {"requests", "events", "written"}

TABLES = {
    "Daily active users and engagement; views and engaged seconds of a session": """
        select session_date::date as day, count(distinct user_pseudo_id) as users,
            count(*) as sessions, round(100.0 * avg(engaged_session), 1) as "engaged %",
            round(avg(session_views), 1) as views,
            round(avg(session_engagement_time) / 1000, 1) as seconds
        from demo.clickstream_session_view
        where session_date >= date '{start}' and session_date < date '{end}'
        group by all order by 1""",
    "Retention: % of each day's new users that were back n days later": """
        with cohort as (
            select first_date as "first day", day_diff, sum(returned_user_count) as returned,
                sum(total_users) as users
            from demo.clickstream_retention_view
            where first_date >= date '{start}' and first_date < date '{end}'
            group by all)
        select "first day", max(users)::bigint as users,
            {days}
        from cohort group by all order by 1""",
    "Most frequent steps from screen to screen": """
        select platform, previous_screen as "from", current_screen as "to", count(*) as times
        from demo.clickstream_path_view
        where previous_screen is not null and current_screen is not null
            and previous_screen <> current_screen
        group by all order by times desc, 1, 2, 3 limit 8""",
    "Where users come from": """
        select first_traffic_source_source as source, first_traffic_source_medium as medium,
            count(*) as users,
            round(100.0 * avg((is_registered = 'Registered')::int), 1) as "registered %"
        from demo.clickstream_user_dim_view group by all order by users desc, 1, 2 limit 6""",
}


def show_counters(
    console: Console, instance: dg.DagsterInstance, key: dg.AssetKey, windows: list[str]
) -> None:
    """Print what became of every request and event, summed over the windows.

    `key` is the asset whose materializations tell them.
    """
    table = Table("", "count", title="What became of the requests", title_justify="left")
    table.columns[1].justify = "right"
    total = _counters(instance, key, windows)
    for name, meaning in COUNTERS.items():
        if name in total:
            table.add_row(meaning, f"{total[name]:,}", style="bold" if name in BOLD else None)
    console.print()
    console.print(table)


def show_tables(console: Console, warehouse: Path, plan: TrafficPlan) -> None:
    """Print a few tables from the views of the warehouse."""
    import duckdb

    if not warehouse.exists():
        return
    start = plan.end.date().fromordinal(plan.end.date().toordinal() - plan.days)
    days = ",\n".join(
        f"coalesce(round(100.0 * max(returned) filter (day_diff = {day}) / max(users), 0)"
        f"::int::varchar, '') as \"+{day}\""
        for day in range(1, plan.days)
    )
    try:
        connection = duckdb.connect(str(warehouse), read_only=True)
    except duckdb.IOException as error:
        console.print(f"\n[yellow]{warehouse} is in use, its tables are not shown:[/] {error}")
        return
    with connection:
        for title, query in TABLES.items():
            answer = connection.execute(query.format(start=start, end=plan.end.date(), days=days))
            table = Table(title=title, title_justify="left")
            for name, type_, *_ in answer.description:
                table.add_column(name, justify="left" if "VARCHAR" in str(type_) else "right")
            for row in answer.fetchall():
                table.add_row(*("" if value is None else _text(value) for value in row))
            console.print()
            console.print(table)


def _counters(instance: dg.DagsterInstance, key: dg.AssetKey, windows: list[str]) -> dict[str, int]:
    """Sum the counters in the metadata of each window's last materialization."""
    total: dict[str, int] = {}
    for partition in windows:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
        ).records
        for record in records:
            for name, value in record.asset_materialization.metadata.items():
                if name in COUNTERS and isinstance(value.value, int):
                    total[name] = total.get(name, 0) + value.value
    return total


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
