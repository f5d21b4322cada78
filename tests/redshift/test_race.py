"""A load that is committed while dbt runs is taken in by the next run."""

import pytest

from tests.redshift import engine
from tests.redshift.conftest import Warehouse
from tests.redshift.traffic import traffic

EVENT_BASE = ("run", "--select", "clickstream_event_base")


@pytest.mark.heavy
def test_a_load_between_the_statements_of_a_run_is_not_lost(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.dbt(*EVENT_BASE)
    warehouse.write(traffic(2))
    warehouse.load()
    warehouse.write(traffic(5))
    loaded = []
    run = engine.Session.run

    def load_behind_the_new_rows(self: engine.Session, sql: str, *more: object) -> object:
        result = run(self, sql, *more)
        if not loaded and "clickstream_event_base__dbt_tmp" in sql and "create" in sql.lower():
            loaded.append(sql)
            warehouse.load()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(engine.Session, "run", load_behind_the_new_rows)
        warehouse.dbt(*EVENT_BASE)
    assert loaded
    warehouse.dbt(*EVENT_BASE)
    events = warehouse.rows("ods_event", "count(*)")
    assert warehouse.rows("clickstream_event_base", "count(*)") == events
