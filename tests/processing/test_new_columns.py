"""A lake of an earlier version goes on working when columns have been added."""

import duckdb
import pyarrow as pa
import pytest

from clickstream_dagster.processing import lake as lake_module
from clickstream_dagster.processing.schema import ODS_EVENT
from clickstream_dagster.resources.lake_views import show_lake
from tests.processing.conftest import Pipeline
from tests.processing.records_input import NOW_MS, event, plain, record

EARLIER = pa.schema([field for field in ODS_EVENT if not field.name.startswith("traffic_source_")])
EVERY = ("ua", "ip", "traffic_source")
PAGE = {"_page_url": "https://shop.example/?utm_source=a&utm_medium=sms"}


@pytest.fixture
def earlier_lake(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Give a lake as a version without the newest columns has written it."""
    with monkeypatch.context() as earlier:
        earlier.setitem(lake_module.TABLES, "ods_event", (EARLIER, ("app_id", "event_date")))
        pipeline.process(
            "b1", [record(plain(event("e1"), event("e2")), ingest_time=NOW_MS + 900_000)]
        )
        assert [field.name for field in pipeline.lake.table("ods_event").schema().fields] == (
            EARLIER.names
        )
    return pipeline


def test_columns_are_added_and_old_rows_have_none(earlier_lake: Pipeline) -> None:
    earlier_lake.process(
        "b2", [record(plain(event("e3", attributes=PAGE)), rid="r2")], enrichments=EVERY
    )
    table = earlier_lake.lake.table("ods_event")
    assert [field.name for field in table.schema().fields] == ODS_EVENT.names
    channels = [row["traffic_source_channel_group"] for row in earlier_lake.rows("ods_event")]
    assert channels == [None, None, "SMS"]
    assert len(earlier_lake.lake.table("ods_event").schemas()) == 2


def test_a_file_of_the_earlier_version_is_written_again(earlier_lake: Pipeline) -> None:
    # An earlier copy of e2 makes the old file be written again without it.
    counters = earlier_lake.process(
        "b2", [record(plain(event("e2", attributes=PAGE)), rid="r0")], enrichments=EVERY
    )
    assert (counters.written, counters.superseded) == (1, 1)
    rows = {row["event_id"]: row for row in earlier_lake.rows("ods_event")}
    assert rows["e1"]["traffic_source_channel_group"] is None
    assert rows["e2"]["traffic_source_channel_group"] == "SMS"


def test_the_warehouse_sees_old_and_new_rows(earlier_lake: Pipeline) -> None:
    earlier_lake.process(
        "b2", [record(plain(event("e3", attributes=PAGE)), rid="r2")], enrichments=EVERY
    )
    with duckdb.connect() as conn:
        show_lake(conn, str(earlier_lake.sink), "demo")
        query = "select event_id, traffic_source_channel_group from demo_lake.ods_event order by 1"
        assert conn.sql(query).fetchall() == [("e1", None), ("e2", None), ("e3", "SMS")]
