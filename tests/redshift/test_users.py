"""The dimension of users has what was known last, whatever the clocks say and however late."""

from typing import Any

import pytest

from clickstream_dagster.warehouses.redshift.users import upsert_users
from tests.dbt.model_input import PROJECT, event, ms
from tests.redshift.conftest import Warehouse


def profile(time: str, id_: str, plan: str | None, **fields: Any) -> dict[str, Any]:
    return event(
        "_profile_set", time, id_, attributes={} if plan is None else {"plan": plan}, **fields
    )


def plans(warehouse: Warehouse) -> dict[str, str]:
    upsert_users(warehouse.sql, PROJECT)
    return dict(warehouse.rows("dim_user", "user_pseudo_id, user_properties[1].value.string_value"))


def arrives(warehouse: Warehouse, *events: dict[str, Any]) -> None:
    warehouse.write(events)
    warehouse.load()


def test_late_events_and_a_future_one(warehouse: Warehouse) -> None:
    arrives(warehouse, profile("2024-05-02 10:00", "e1", "free", user="u1"))
    assert plans(warehouse) == {"u1": "free"}
    # A clock that is years ahead counts from its arrival.
    arrives(
        warehouse,
        profile(
            "2031-01-01 00:00",
            "e2",
            "gold",
            user="u2",
            batch="b2",
            ingest_timestamp=ms("2024-05-03 10:00"),
        ),
    )
    assert plans(warehouse) == {"u1": "free", "u2": "gold"}
    arrives(
        warehouse,
        profile("2024-05-01 10:00", "e3", "early", user="u1", batch="b3"),
        profile("2024-05-04 10:00", "e4", "basic", user="u2", batch="b3"),
        profile("2024-05-05 10:00", "e5", None, user="u1", batch="b3"),
        profile("2024-05-05 10:00", "e6", "new", user="u3", batch="b3"),
        profile("2024-05-05 10:00", "e7", "nobody", user=None, batch="b3"),
    )
    assert plans(warehouse) == {"u1": "free", "u2": "basic", "u3": "new"}


def test_an_event_that_is_taken_out_or_corrected(warehouse: Warehouse) -> None:
    arrives(warehouse, profile("2024-05-01 10:00", "e1", "free"))
    arrives(warehouse, profile("2024-05-02 10:00", "e2", "gold", batch="b2"))
    assert plans(warehouse) == {"u1": "gold"}
    warehouse.drop("b2")
    arrives(warehouse, profile("2024-05-02 10:00", "e2", "silver", batch="b2"))
    assert plans(warehouse) == {"u1": "silver"}
    warehouse.drop("b2")
    warehouse.load()
    assert plans(warehouse) == {"u1": "free"}


def test_nothing_new_changes_nothing(warehouse: Warehouse) -> None:
    arrives(warehouse, profile("2024-05-01 10:00", "e1", "free"))
    upsert_users(warehouse.sql, PROJECT)
    done = len(warehouse.api.requests)
    found = upsert_users(warehouse.sql, PROJECT)
    assert found.after == found.upto == 1
    actions = {action for action, _ in warehouse.api.requests[done:]}
    assert "BatchExecuteStatement" not in actions


def places(warehouse: Warehouse) -> dict[str, int]:
    """Where each user's row is in the table: another place when it was written again."""
    return dict(warehouse.rows("dim_user", "user_pseudo_id, rowid"))


def test_only_rows_of_users_that_changed_are_written(warehouse: Warehouse) -> None:
    arrives(
        warehouse,
        *(profile("2024-05-02 10:00", f"e{n}", "free", user=f"u{n}") for n in range(4)),
    )
    upsert_users(warehouse.sql, PROJECT)
    before = places(warehouse)
    done = len(warehouse.engine.statements)
    arrives(
        warehouse,
        profile("2024-05-03 10:00", "late", "gold", user="u1", batch="b2"),
        profile("2024-05-01 10:00", "early", "gold", user="u2", batch="b2"),
        profile("2024-05-03 10:00", "first", "gold", user="u4", batch="b2"),
    )
    assert plans(warehouse) == {
        "u0": "free",
        "u1": "gold",
        "u2": "free",
        "u3": "free",
        "u4": "gold",
    }
    after = places(warehouse)
    assert {user for user in before if before[user] != after[user]} == {"u1"}
    # No user's events are looked up where none has been taken out.
    assert not any("outdated" in sql for sql in warehouse.engine.statements[done:])


@pytest.mark.heavy
def test_an_event_that_models_have_seen_go_is_still_known_here(warehouse: Warehouse) -> None:
    arrives(warehouse, profile("2024-05-01 10:00", "e1", "free"))
    arrives(warehouse, profile("2024-05-02 10:00", "e2", "gold", batch="b2"))
    warehouse.dbt("run", "--select", "clickstream_event_base")
    assert plans(warehouse) == {"u1": "gold"}
    warehouse.drop("b2")
    warehouse.load()
    warehouse.dbt("run", "--select", "clickstream_event_base")
    assert plans(warehouse) == {"u1": "free"}
    warehouse.dbt("run", "--select", "clickstream_event_base")
    assert warehouse.rows("ods_event_gone") == []
