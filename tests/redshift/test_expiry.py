"""Old days go, once and for good; a dry run only tells."""

from datetime import date

import pytest

from clickstream_dagster.warehouses.redshift.expiry import (
    ExpiredDay,
    bring_back,
    erase_user,
    expire,
)
from clickstream_dagster.warehouses.redshift.loading import load
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


def test_what_the_lake_changes_of_expired_days_is_told_once(warehouse: Warehouse) -> None:
    warehouse.write(
        [event("a", f"2024-05-0{day} 10:00", f"e{day}", batch=f"b{day}") for day in (1, 2, 3, 9)]
    )
    warehouse.load()
    expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False)
    warehouse.drop("b1")
    warehouse.write([event("a", "2024-05-02 11:00", "late", batch="b4")])
    warehouse.write([event("a", "2024-05-09 11:00", "new", batch="b4")])
    done = load(warehouse.sql, warehouse.lake, warehouse.copy)
    assert done.expired == [("shop", date(2024, 5, 1)), ("shop", date(2024, 5, 2))]
    assert [one.rows for one in done.loads] == [1]
    assert warehouse.events() == [("e3",), ("e9",), ("new",)]
    again = load(warehouse.sql, warehouse.lake, warehouse.copy)
    assert (again.loads, again.expired) == ([], [])


def test_days_come_back(warehouse: Warehouse) -> None:
    assert bring_back(warehouse.sql, PROJECT) is None
    warehouse.write([event("a", f"2024-05-0{day} 10:00", f"e{day}") for day in (1, 2, 3)])
    warehouse.load()
    expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False)
    warehouse.write([event("a", "2024-05-02 11:00", "late", batch="b2")])
    warehouse.load()
    assert bring_back(warehouse.sql, PROJECT) == date(2024, 5, 3)
    warehouse.load()
    assert warehouse.events() == [("e1",), ("e2",), ("e3",), ("late",)]


def test_what_users_have_not_taken_in_stays(warehouse: Warehouse) -> None:
    warehouse.write([event("a", "2024-05-09 10:00", "e1", attributes={"n": 1})])
    warehouse.load()
    upsert_users(warehouse.sql, PROJECT)
    warehouse.write([event("a", "2024-05-01 10:00", "e2", user="u2", attributes={"n": 1})])
    warehouse.load()
    for dry_run in (True, False):
        with pytest.raises(RedshiftError, match=r"load 2 has events .* dim_user has not taken in"):
            expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=dry_run)
    assert len(warehouse.events()) == 2
    upsert_users(warehouse.sql, PROJECT)
    assert len(expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False)) == 1


def test_what_is_left_of_a_user_can_be_erased(warehouse: Warehouse) -> None:
    warehouse.write(
        [
            event("a", "2024-05-01 10:00", f"e-{user}", user=user, attributes={"n": 1})
            for user in ("u'1", "u2")
        ]
    )
    warehouse.write([event("a", "2024-05-09 10:00", "e9", user="u'1", batch="b9")])
    warehouse.load()
    upsert_users(warehouse.sql, PROJECT)
    expire(warehouse.sql, PROJECT, 7, TODAY, dry_run=False)
    with pytest.raises(RedshiftError, match=r"still has 1 events of u'1: erase .* in the lake"):
        erase_user(warehouse.sql, PROJECT, "shop", "u'1")
    warehouse.drop("b9")
    warehouse.load()
    assert erase_user(warehouse.sql, PROJECT, "other", "u'1") == {}
    assert erase_user(warehouse.sql, PROJECT, "shop", "u'1") == {"dim_user": 1}
    assert warehouse.rows("dim_user", "user_pseudo_id") == [("u2",)]
