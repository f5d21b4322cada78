"""Old days go, once and for good; a dry run only tells."""

from datetime import date

import pytest

from clickstream_dagster.warehouses.redshift.expiry import ExpiredDay, expire
from clickstream_dagster.warehouses.redshift.sql import RedshiftError
from clickstream_dagster.warehouses.redshift.users import upsert_users
from tests.dbt.model_input import PROJECT, event
from tests.redshift.conftest import Warehouse

TODAY = date(2024, 5, 10)


def test_expired_days_go_and_stay_away(warehouse: Warehouse) -> None:
    warehouse.write(
        [event("a", f"2024-05-0{day} 10:00", f"e{day}", attributes={"n": day}) for day in (1, 2, 3)]
    )
    warehouse.load()
    upsert_users(warehouse.sql, PROJECT)
    gone = [ExpiredDay("shop", date(2024, 5, day), 1) for day in (1, 2)]
    assert expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=True) == gone
    assert len(warehouse.events()) == 3
    assert expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False) == gone
    assert warehouse.events() == [("e3",)]
    assert expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False) == []
    # Neither what was loaded, nor a late event of such a day, nor a longer time brings it back.
    warehouse.write([event("a", "2024-05-02 11:00", "late", batch="b2")])
    assert warehouse.load() == []
    assert expire(warehouse.sql, PROJECT, 30, TODAY, dry_run=False) == []
    assert warehouse.load() == []
    assert warehouse.events() == [("e3",)]
    upsert_users(warehouse.sql, PROJECT)
    assert warehouse.rows("dim_user", "event_id") == [("e3",)]


def test_a_user_outlives_its_events(warehouse: Warehouse) -> None:
    warehouse.write([event("a", "2024-05-01 10:00", "e1", attributes={"n": 1})])
    warehouse.load()
    upsert_users(warehouse.sql, PROJECT)
    expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False)
    warehouse.write([event("a", "2024-05-09 10:00", "e2", user="u2", attributes={"n": 2})])
    warehouse.load()
    upsert_users(warehouse.sql, PROJECT)
    assert warehouse.rows("dim_user", "user_pseudo_id, event_id") == [("u1", "e1"), ("u2", "e2")]


def test_less_than_a_day_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(RedshiftError, match="write 1 or more"):
        expire(warehouse.sql, PROJECT, 0, TODAY, dry_run=False)
