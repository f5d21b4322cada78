"""The work group and the saved queries are made once, and mended when they differ."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest

from clickstream_dagster.errors import SettingError
from clickstream_dagster.warehouses.athena.saved_queries import ensure_saved_queries, saved_queries
from clickstream_dagster.warehouses.athena.work_group import WorkGroup, ensure_work_group
from tests.athena.athena_edge import served_athena
from tests.athena.conftest import TwoLakes
from tests.views import VIEWS

DAY_OF = {
    "clickstream_session_view": "cast(session_date as date)",
    "clickstream_user_dim_view": "first_visit_date",
    "clickstream_retention_view": "first_date",
    "clickstream_lifecycle_daily_view": "time_period",
    "clickstream_lifecycle_weekly_view": "time_period",
}
PERIODS = [
    (date(2024, 12, 28), date(2025, 1, 1)),  # over the end of a month and a year
    (date(2024, 11, 30), date(2024, 12, 30)),
    (date(2025, 1, 1), date(2025, 1, 1)),
]


@pytest.fixture
def client(aws: str) -> Iterator[Any]:
    """A client of Athena without an engine: only what is kept in it."""
    with served_athena(trino_port=0, behind=aws) as edge:
        yield boto3.client("athena", endpoint_url=edge.url)


def test_a_work_group_limits_the_scan_and_is_mended(client: Any) -> None:
    wanted = WorkGroup("shop_limits", "s3://bucket/results/", 50_000_000_000)
    assert ensure_work_group(client, wanted)
    assert not ensure_work_group(client, wanted)
    narrower = WorkGroup("shop_limits", "s3://bucket/results/", 10_000_000, kms_key_id="alias/key")
    assert ensure_work_group(client, narrower)
    assert not ensure_work_group(client, narrower)
    held = client.get_work_group(WorkGroup="shop_limits")["WorkGroup"]["Configuration"]
    assert held["BytesScannedCutoffPerQuery"] == 10_000_000
    assert held["EnforceWorkGroupConfiguration"] is True
    assert held["EngineVersion"]["SelectedEngineVersion"] == "Athena engine version 3"
    assert held["ResultConfiguration"]["EncryptionConfiguration"]["KmsKey"] == "alias/key"


def test_a_limit_that_athena_does_not_take_is_refused() -> None:
    with pytest.raises(SettingError, match=r"scan_limit_bytes 9999999 .* write 10000000"):
        WorkGroup("shop", "s3://bucket/results/", 9_999_999)


def test_saved_queries_are_made_once_and_mended(client: Any) -> None:
    ensure_work_group(client, WorkGroup("shop_queries", "s3://bucket/results/", 10_000_000))
    own = client.create_named_query(
        Name="own", Database="shop", QueryString="select 1", WorkGroup="shop_queries"
    )["NamedQueryId"]
    assert sorted(ensure_saved_queries(client, "shop", "shop_queries")) == sorted(VIEWS)
    assert ensure_saved_queries(client, "shop", "shop_queries") == []
    ids = set(client.list_named_queries(WorkGroup="shop_queries")["NamedQueryIds"]) - {own}
    spoiled = sorted(ids)[0]
    name = client.get_named_query(NamedQueryId=spoiled)["NamedQuery"]["Name"]
    client.update_named_query(NamedQueryId=spoiled, Name=name, QueryString="select 2")
    assert ensure_saved_queries(client, "shop", "shop_queries") == [name]
    mended = client.get_named_query(NamedQueryId=spoiled)["NamedQuery"]
    assert mended["QueryString"] == {q.name: q.sql for q in saved_queries()}[name]
    assert client.get_named_query(NamedQueryId=own)["NamedQuery"]["QueryString"] == "select 1"


@pytest.mark.parametrize("period", PERIODS, ids=lambda days: f"{days[0]}-{days[1]}")
def test_each_query_gives_the_rows_of_its_days(lakes: TwoLakes, period: tuple[date, date]) -> None:
    first, last = period
    empty = []
    for query in saved_queries():
        found = lakes.query(query.sql, ["web", first.isoformat(), last.isoformat()])
        day = DAY_OF.get(query.name, "event_date")
        days = f"between date '{first}' and date '{last}'"
        where = f"where app_id = 'web' and {day} {days}"
        if query.name == "clickstream_user_attr_view":
            where = (
                "where app_id = 'web' and user_pseudo_id in (select user_pseudo_id"
                f" from clickstream_user_dim_view where app_id = 'web' and first_visit_date {days})"
            )
        assert found == lakes.query_duckdb(f"select * from {query.name} {where}"), query.name
        if not found:
            empty.append(query.name)
    assert {query.name for query in saved_queries()} == set(VIEWS)
    # A single day may be without a week that starts on it, or a first visit.
    assert len(empty) <= 4, empty
