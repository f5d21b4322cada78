"""What a load takes out of a model is named by days: Redshift skips blocks of a sorted table."""

import pytest

from tests.dbt.model_input import event
from tests.redshift.conftest import Warehouse

pytestmark = pytest.mark.heavy


def test_sessions_of_other_months_are_not_looked_through(warehouse: Warehouse) -> None:
    for day in ("2024-11-05", "2025-01-05"):
        warehouse.write([event("_page_view", f"{day} 10:00", day, session=day)])
        warehouse.load()
        warehouse.engine.statements.clear()
        warehouse.dbt("run", "--select", "+clickstream_session_base")
    (delete,) = [
        text
        for text in warehouse.engine.statements
        if "delete from" in text and "using touched" in text and "clickstream_session_base" in text
    ]
    bound = "first_event_date between date '2025-01-05' and date '2025-01-05'"
    assert bound in " ".join(delete.split())
    assert "2024-11-05" not in delete
    assert len(warehouse.rows("clickstream_session_base")) == 2
