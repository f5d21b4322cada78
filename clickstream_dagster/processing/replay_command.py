"""`clickstream replay`: bad records once more, with a table of what became of them."""

from rich.console import Console
from rich.table import Table

from clickstream_dagster.processing.bad_records import NOT_REPLAYED, Found, Selection
from clickstream_dagster.processing.engines import spark_session
from clickstream_dagster.processing.replay import ReplayCounters, preview, replay_bad_records
from clickstream_dagster.processing.settings import BatchSettings

NOTHING = "no bad record is chosen: nothing to replay"
LEFT = (
    "What is left alone holds no whole request or event; mend what it came from and run its batches"
    " again (`clickstream backfill`, or `clickstream process` with the same --batch)."
)


def show_preview(settings: BatchSettings, selection: Selection, console: Console) -> dict[str, int]:
    """Show what a replay would process; give the counts. Raises ClickstreamError."""
    found = preview(settings, selection)
    if not found.records:
        console.print(NOTHING)
    else:
        console.print(_preview_table(found))
        if found.records.keys() & NOT_REPLAYED:
            console.print(LEFT)
    return {"chosen": sum(found.records.values()), "bytes": sum(found.bytes.values())}


def replay(
    settings: BatchSettings, selection: Selection, engine: str, console: Console
) -> dict[str, int]:
    """Replay bad records and show what became of them; give the counts.

    Progress is told on standard error. Raises ClickstreamError.
    """
    progress = Console(stderr=True)
    with progress.status("looking up bad records") as status, spark_session(engine) as spark:

        def tell(message: str) -> None:
            progress.print(message)
            status.update(message)

        counters = replay_bad_records(lambda: spark, settings, selection, tell)
    console.print(result_table(counters) if counters.chosen else NOTHING)
    if counters.left:
        console.print(LEFT)
    return counters.as_dict()


def result_table(counters: ReplayCounters) -> Table:
    """Give a table of what became of the bad records, a line for each reason."""
    table = Table("reason", title="Bad records")
    for name in ("chosen", "mended", "still bad", "left alone"):
        table.add_column(name, justify="right")
    for reason, counts in by_reason(counters).items():
        table.add_row(reason, *(f"{count:,}" for count in counts))
    return table


def by_reason(counters: ReplayCounters) -> dict[str, tuple[int, int, int, int]]:
    """Give for each reason the records that were chosen, mended, are still bad and left alone."""
    return {
        reason: (
            count,
            counters.mended[reason],
            counters.replayed[reason] - counters.mended[reason],
            counters.left[reason],
        )
        for reason, count in sorted(counters.chosen.items())
    }


def _preview_table(found: Found) -> Table:
    table = Table("reason", title="Bad records")
    table.add_column("records", justify="right")
    table.add_column("bytes", justify="right")
    table.add_column("replay")
    for reason, count in sorted(found.records.items()):
        replayed = "left alone" if reason in NOT_REPLAYED else "yes"
        table.add_row(reason, f"{count:,}", f"{found.bytes[reason]:,}", replayed)
    return table
