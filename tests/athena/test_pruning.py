"""A question about an app and a day reads the files of that app and day, and no others."""

from tests.athena.conftest import TwoLakes

COUNT = "select count(distinct event_id) from clickstream_ods_event_view"


def test_app_and_day_decide_what_is_read(lakes: TwoLakes) -> None:
    sizes = dict(
        lakes.query(
            'select "$path", max("$file_size") from (select "$path", "$file_size" from ods_event)'
            ' group by "$path"'
        )
    )
    chosen = [size for path, size in sizes.items() if "/app_id=web/event_date=2025-01-01/" in path]
    assert 0 < len(chosen) < len(sizes) / 4
    one = lakes.edge.run(
        f"{COUNT} where app_id = 'web' and event_date = date '2025-01-01'", lakes.project
    )
    everything = lakes.edge.run(COUNT, lakes.project)
    assert 0 < one.read_bytes <= sum(chosen)
    assert everything.read_bytes > 4 * one.read_bytes
