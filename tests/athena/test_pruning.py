"""A question about an app and a day reads the files of that app and day, and no others."""

from tests.athena.conftest import TwoLakes

COUNT = "select count(distinct event_id) from clickstream_ods_event_view"


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
