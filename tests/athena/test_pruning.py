"""A question about an app and a day reads the files of that app and day, and no others."""

import pytest

from tests.athena.conftest import TwoLakes
from tests.views import DAILY_REPORTS

COUNT = "select count(distinct event_id) from clickstream_ods_event_view"


@pytest.mark.parametrize("name", DAILY_REPORTS)
def test_a_report_over_a_month_reads_the_files_of_that_month(lakes: TwoLakes, name: str) -> None:
    files = sizes(lakes, name)
    month = "/app_id=web/report_date_month=2025-01/"
    chosen = [size for path, size in files.items() if month in path]
    assert 0 < len(chosen) < len(files)
    rows = f"select * from {name} where app_id = 'web' and report_date"
    one = lakes.edge.run(f"{rows} between date '2025-01-01' and date '2025-01-31'", lakes.project)
    everything = lakes.edge.run(f"{rows} > date '1970-01-01'", lakes.project)
    assert 0 < one.read_bytes <= sum(chosen) < everything.read_bytes


def test_cohorts_of_a_month_are_read_without_those_of_others(lakes: TwoLakes) -> None:
    sql = "select * from clickstream_retention_view where app_id = 'web' and first_date"
    one = lakes.edge.run(f"{sql} >= date '2025-01-01'", lakes.project)
    everything = lakes.edge.run(f"{sql} > date '1970-01-01'", lakes.project)
    assert (one.error, everything.error) == (None, None)
    assert one.read_bytes < everything.read_bytes  # no byte, if nobody is new then


def sizes(lakes: TwoLakes, table: str) -> dict[str, int]:
    """Size of each data file of a table, by path."""
    return dict(lakes.query(f'select file_path, file_size_in_bytes from "{table}$files"'))


def test_app_and_day_decide_what_is_read(lakes: TwoLakes) -> None:
    events = sizes(lakes, "ods_event")
    chosen = [size for path, size in events.items() if "/app_id=web/event_date=2025-01-01/" in path]
    assert 0 < len(chosen) < len(events) / 4
    # Beside the events the view reads the keys of sessions without id, from the ledger.
    keys = sum(sizes(lakes, "clickstream_load_session").values())
    one = lakes.edge.run(
        f"{COUNT} where app_id = 'web' and event_date = date '2025-01-01'", lakes.project
    )
    everything = lakes.edge.run(COUNT, lakes.project)
    assert 0 < one.read_bytes <= sum(chosen) + keys
    assert everything.read_bytes > sum(chosen) + keys
