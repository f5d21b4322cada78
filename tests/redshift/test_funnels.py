"""The funnels of a project on Redshift equal DuckDB's, conditions on parameters among them."""

from pathlib import Path

import duckdb
import pytest

from clickstream_dagster.resources.dbt import Warehouse as Local
from clickstream_dagster.resources.dbt import dbt_vars, run_dbt
from clickstream_dagster.resources.definitions import read_definitions
from tests.dbt.model_input import PROJECT, event, write
from tests.dbt.test_funnels import EVENTS, FUNNELS
from tests.redshift.conftest import Warehouse

pytestmark = pytest.mark.heavy

MODELS = (
    *("run", "--select", "clickstream_event_base", "clickstream_user_day_base"),
    *("clickstream_funnels", "clickstream_funnel_daily"),
)
RELATIONS = {"clickstream_funnels": "*", "clickstream_funnel_daily": "* exclude (load_id)"}
# Of a key that was sent twice the first value counts.
SENT_TWICE = [
    event("search", "2024-05-02 10:00", "t1", user="yes", params=[("word", "x"), ("word", "y")]),
    event("search", "2024-05-02 10:00", "t2", user="no", params=[("word", "y"), ("word", "x")]),
    event("order", "2024-05-02 10:01", "t3", user="yes"),
]
FUNNEL = """
  - name: sent_twice
    steps:
      - event: search
        where: [{parameter: word, equals: x}]
      - order
"""


def test_funnels_are_duckdbs(warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "definitions.yaml"
    file.write_text(FUNNELS.rstrip() + FUNNEL)
    definitions = read_definitions(file)
    events = [*EVENTS, *SENT_TWICE]

    (tmp_path / "lake").mkdir()
    write(tmp_path / "lake", events)
    local = Local(
        tmp_path / "lake", PROJECT, tmp_path / "warehouse.duckdb", definitions=definitions
    )
    run_dbt([*MODELS, "--quiet"], local)

    def rows(relation: str) -> list[tuple]:
        with duckdb.connect(str(local.file)) as connection:
            return connection.execute(
                f"select {RELATIONS[relation]} from {PROJECT}.{relation} order by all"
            ).fetchall()

    def must_be_equal() -> None:
        for relation, columns in RELATIONS.items():
            assert warehouse.rows(relation, columns) == rows(relation)

    warehouse.write(events)
    warehouse.load()
    warehouse.dbt(*MODELS, *dbt_vars(definitions))
    must_be_equal()
    found = warehouse.rows("clickstream_funnels", "funnel, step, user_count")
    assert {row[0] for row in found} == {"note", "quick", "twice", "chosen", "sent_twice"}
    assert [row[1:] for row in found if row[0] == "sent_twice"] == [(1, 1), (2, 1)]

    # A step that comes late counts on the day of the first one.
    late = [event("note_create", "2024-05-03 10:00", "late", user="skipped")]
    late += [event("add_button_click", "2024-05-03 09:00", "later", user="skipped")]
    warehouse.write(late)
    warehouse.load()
    warehouse.dbt(*MODELS, *dbt_vars(definitions))
    write(tmp_path / "lake", late)
    run_dbt([*MODELS, "--quiet"], local)
    must_be_equal()
    where = "funnel = 'note' and dimension_value = 'Web' and step = 3 order by all"
    found = warehouse.engine.query(
        f"select user_count, load_id from {PROJECT}.clickstream_funnel_daily where {where}"
    )
    assert found == [(2, 2)]
