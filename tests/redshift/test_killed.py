"""A run of the models on Redshift may end between any two statements; the next makes it good."""

import re

import pytest

from tests.dbt.model_input import PROJECT
from tests.redshift.conftest import Warehouse
from tests.redshift.engine import RedshiftError
from tests.redshift.traffic import traffic

pytestmark = pytest.mark.heavy

MODELS = (
    "clickstream_event_base",
    "clickstream_session_base",
    "clickstream_path_base",
    "clickstream_user_day_base",
    "clickstream_user_base",
    "clickstream_activity_daily",
)
RUN = ("run", "--select", *MODELS)
CHANGE = re.compile(r"^\s*(/\*.*?\*/)?\s*(insert|delete|update|create|alter|commit)\b", re.I | re.S)


def run_killed(warehouse: Warehouse, survive: int) -> bool:
    """Run the models; nothing gets through behind so many changes. Whether it was killed."""
    done = 0

    def fail(sql: str) -> None:
        nonlocal done
        if done >= survive:
            raise RedshiftError("killed")
        done += bool(CHANGE.match(sql))

    warehouse.engine.fail = fail
    try:
        warehouse.dbt(*RUN)
    except AssertionError as error:
        if "killed" not in str(error):
            raise
        return True
    finally:
        warehouse.engine.fail = lambda sql: None
    return False


def test_killed_on_the_way_it_ends_in_the_rows_of_a_full_refresh(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.dbt(*RUN)
    # Loads that take events away, replace others and bring new ones.
    warehouse.drop("b1")
    warehouse.write(traffic(1)[:20] + traffic(1, seed=8)[20:])
    warehouse.load()
    warehouse.write(traffic(2))
    warehouse.load()
    kills = [survive for survive in (4, 7, 10, 13, 18, 25, 32) if run_killed(warehouse, survive)]
    assert len(kills) >= 5
    warehouse.dbt(*RUN)
    found = {model: warehouse.rows(model, "* exclude (load_id)") for model in MODELS}
    warehouse.dbt(*RUN, "--full-refresh")
    wanted = {model: warehouse.rows(model, "* exclude (load_id)") for model in MODELS}
    assert [model for model in MODELS if found[model] != wanted[model]] == []


def test_events_that_the_event_base_lacks_are_found(warehouse: Warehouse) -> None:
    check = ("test", "--select", "the_event_base_has_the_loaders_events")
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.dbt("run", "--select", "clickstream_event_base")
    warehouse.dbt(*check)
    # A load that came behind the run is the next one's.
    warehouse.drop("b1")
    warehouse.write(traffic(1)[:50])
    warehouse.load()
    warehouse.dbt(*check)
    warehouse.dbt("run", "--select", "clickstream_event_base")
    warehouse.engine.root.execute(
        f"delete from {PROJECT}.clickstream_event_base where event_id = 'e1-007'"
    )
    with pytest.raises(AssertionError, match="the_event_base_has_the_loaders_events"):
        warehouse.dbt(*check)
