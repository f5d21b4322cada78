"""Redshift holds what the lake holds: each event once, whatever failed or came again."""

from collections.abc import Callable
from datetime import date

import pytest

from clickstream_dagster.processing import maintenance
from clickstream_dagster.processing.maintenance import MaintenanceSettings, maintain
from clickstream_dagster.warehouses.redshift import changes, loading
from clickstream_dagster.warehouses.redshift.sql import RedshiftError
from tests.dbt.model_input import PROJECT, event
from tests.redshift.conftest import Warehouse
from tests.redshift.engine import RedshiftError as Refused
from tests.redshift.traffic import DAY, traffic


def ids(warehouse: Warehouse) -> list[str]:
    return [id_ for (id_,) in warehouse.events()]


def in_lake(warehouse: Warehouse) -> list[str]:
    return sorted(warehouse.lake.table("ods_event").scan().to_arrow()["event_id"].to_pylist())


def copies(warehouse: Warehouse) -> int:
    return sum(sql.startswith("copy") for sql in warehouse.engine.statements)


def test_what_is_committed_is_loaded_once(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    (first,) = warehouse.load()
    assert (first.load_id, first.rows) == (1, 60)
    assert ids(warehouse) == in_lake(warehouse)
    assert warehouse.load() == []
    warehouse.write(traffic(2))
    (second,) = warehouse.load()
    assert (second.load_id, second.rows) == (2, 60)
    assert ids(warehouse) == in_lake(warehouse)
    assert warehouse.rows("ods_event_batch", "load_id, ingest_batch, event_rows") == [
        (1, "b1", 60),
        (2, "b2", 60),
    ]
    keys = warehouse.lake.s3.client().list_objects_v2(
        Bucket=warehouse.copy.manifests[5:].split("/")[0]
    )
    assert not [one for one in keys["Contents"] if one["Key"].startswith("manifests")]


def test_nested_columns_are_kept_whole(warehouse: Warehouse) -> None:
    warehouse.write(
        [
            event(
                "_page_view",
                "2024-05-01 10:00",
                "e1",
                params=[
                    ("_page_title", "first"),
                    ("_page_title", "second"),
                    ("_session_duration", 9),
                ],
                device={"ua_os": "Linux"},
            ),
            event("open", "2024-05-01 11:00", "e2", session=None),
        ]
    )
    warehouse.load()
    assert warehouse.events(
        "event_id, device.ua_os, len(event_params), event_params[1].value.string_value"
    ) == [("e1", "Linux", 4, "first"), ("e2", None, 0, None)]


@pytest.mark.parametrize(
    "at", ["copy", "insert into", "create temp table leaving", "delete from", "drop table"]
)
def test_a_load_that_failed_is_done_again(warehouse: Warehouse, at: str) -> None:
    warehouse.write(traffic(1))
    warehouse.load()
    before = {name: warehouse.rows(name) for name in ("ods_event", "ods_event_file")}
    warehouse.write(traffic(2))
    warehouse.drop("b1")

    def fail(sql: str) -> None:
        if sql.startswith(at):
            raise Refused("disk full")

    warehouse.engine.fail = fail
    with pytest.raises(RedshiftError, match=f"disk full; the statement is {at}"):
        warehouse.load()
    assert {name: warehouse.rows(name) for name in before} == before
    warehouse.engine.fail = lambda sql: None
    warehouse.load()
    assert ids(warehouse) == in_lake(warehouse)
    assert warehouse.rows("ods_event_plan") == []  # nor is what was planned before left behind


def test_a_batch_that_was_processed_again_replaces_its_rows(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    warehouse.write(traffic(2))
    warehouse.load()
    warehouse.drop("b1")
    corrected = [dict(row, platform="TV") for row in traffic(1)[:40]]
    warehouse.write(corrected)
    warehouse.load()
    assert ids(warehouse) == in_lake(warehouse)
    rows = dict(warehouse.events("event_id, platform"))
    assert {rows[row["event_id"]] for row in corrected} == {"TV"}


def compact(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(maintenance, "_QUIET_MS", -DAY)
    return maintain(warehouse.lake, MaintenanceSettings()).compacted_files


def test_compaction_is_noted_and_not_loaded(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(traffic(1))
    warehouse.write(traffic(2))
    warehouse.load()
    done = copies(warehouse)
    assert compact(warehouse, monkeypatch) > 0
    assert warehouse.load() == []
    assert copies(warehouse) == done
    held = {path for (path,) in warehouse.rows("ods_event_file", "lake_file")}
    assert held == set(warehouse.lake.data_files("ods_event"))
    assert warehouse.load() == []
    # A batch goes out of files that hold others too.
    warehouse.drop("b1")
    warehouse.load()
    assert ids(warehouse) == in_lake(warehouse)


def test_compaction_of_loaded_and_new_files(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.write(traffic(2))
    assert compact(warehouse, monkeypatch) > 0
    warehouse.load()
    assert ids(warehouse) == in_lake(warehouse)
    assert warehouse.load() == []


def test_many_files_take_several_loads(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "FILES_OF_A_LOAD", 2)
    for limit in ("FILES_OF_A_STATEMENT", "STATEMENTS_OF_A_PLAN"):
        monkeypatch.setattr(loading, limit, 2)
    warehouse.write(traffic(1))
    assert len(warehouse.load()) > 1
    assert ids(warehouse) == in_lake(warehouse)
    warehouse.drop("b1")
    warehouse.load()
    assert ids(warehouse) == []


def test_two_loads_at_once_do_the_work_once(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    raced = []

    def other(sql: str) -> None:
        if sql.startswith("lock") and not raced:
            raced.append(sql)
            warehouse.engine.query(
                f"insert into {PROJECT}.ods_event_load values (1, 0, 0, 0, now()::timestamp)"
            )

    warehouse.engine.fail = other
    with pytest.raises(RedshiftError, match="another load came first"):
        warehouse.load()
    assert ids(warehouse) == []


def test_a_file_that_is_not_what_the_lake_says_stops_the_load(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    (path, *_) = warehouse.lake.data_files("ods_event")
    body = warehouse.lake.storage.read(path)
    warehouse.lake.storage.remove([path])
    with pytest.raises(RedshiftError, match="does not exist"):
        warehouse.load()
    warehouse.lake.storage.write(path, body)
    warehouse.load()
    assert ids(warehouse) == in_lake(warehouse)


def test_files_of_an_earlier_version_lack_the_last_columns(
    warehouse: Warehouse, new_warehouse: Callable[[], Warehouse]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    warehouse.write([event("open", "2024-05-01 10:00", "e1", traffic_source_clid="x")])
    (path,) = warehouse.lake.data_files("ods_event")
    whole = pq.read_table(pa.BufferReader(warehouse.lake.storage.read(path)))
    sink = pa.BufferOutputStream()
    pq.write_table(whole.select(whole.column_names[:-5]), sink)
    body = sink.getvalue().to_pybytes()
    files = warehouse.lake.files("ods_event")
    old = [
        changes.Held(file.path, "shop", changes.as_held(file).day, "b1", "b1", 1, len(body))
        for file in files
    ]
    warehouse.lake.storage.write(path, body)
    manifest = loading._write_manifest(warehouse.lake, warehouse.copy, old)
    warehouse.sql.transaction(
        loading.load_statements(
            PROJECT, 1, changes.Changes(old), plan="p", manifest=manifest, role=None
        )
    )
    assert ids(warehouse) == ["e1"]


def test_a_day_of_more_files_than_the_data_api_takes_in_one_transaction(
    warehouse: Warehouse,
) -> None:
    day = date(2024, 5, 1)
    files = [
        changes.Held(f"s3://bucket/{'folder/' * 12}{n}.parquet", "shop", day, f"b{n}", f"b{n}", 1)
        for n in range(4_500)
    ]
    loading._write_plan(warehouse.sql, PROJECT, "p", files, [])
    warehouse.sql.transaction(loading._note_files(PROJECT, "p", 0))
    assert warehouse.rows("ods_event_file", "count(distinct lake_file)") == [(4_500,)]
    # None of them is in the lake: their batches go in one transaction with what comes.
    warehouse.write([event("a", "2024-05-01 10:00", "e1", batch="c1")])
    (done,) = warehouse.load()
    assert (done.files, done.gone_files) == (1, 4_500)
    assert ids(warehouse) == ["e1"]
    assert warehouse.load() == []
