"""What dbt compiles for Redshift is Redshift's SQL, read as an analyst would."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from clickstream_dagster.warehouses.redshift.tables import lake_columns
from tests.redshift.conftest import Warehouse
from tests.redshift.engine import RedshiftError, _refuse

SUPER = {column for column, type_ in lake_columns().items() if type_ == "super"} | {"item"}


@pytest.fixture(scope="module")
def compiled(new_warehouse) -> Iterator[dict[str, exp.Expression]]:
    warehouse: Warehouse = new_warehouse()
    warehouse.dbt("compile", "--select", "tag:base", "tag:view")
    folder = Path(warehouse.scratch / "target" / "compiled" / "clickstream" / "models")
    return {
        file.stem: sqlglot.parse_one(file.read_text(), read="redshift")
        for layer in ("base", "views")
        for file in (folder / layer).glob("*.sql")
    }


def test_every_model_is_a_query_that_redshift_takes(compiled: dict[str, exp.Expression]) -> None:
    assert len(compiled) >= 18
    for statement in compiled.values():
        assert isinstance(statement, exp.Query)
        _refuse(statement)


def test_every_path_into_a_nested_column_is_cast(compiled: dict[str, exp.Expression]) -> None:
    seen = 0
    for model, statement in compiled.items():
        for path in statement.find_all(exp.Column, exp.Dot):
            parts = path.sql("redshift").split(".")
            if len(parts) > 2 and parts[1] in SUPER and not isinstance(path.parent, exp.Dot):
                seen += 1
                assert isinstance(path.parent, exp.Cast), f"{model}: {path.parent.sql()}"
    assert seen > 30


def test_text_is_never_cut_to_the_width_of_a_bare_varchar(
    compiled: dict[str, exp.Expression],
) -> None:
    for model, statement in compiled.items():
        for cast in statement.find_all(exp.Cast):
            bare = cast.to.this == exp.DataType.Type.VARCHAR and not cast.to.expressions
            nested = isinstance(cast.this, exp.Dot) or "." in cast.this.sql()
            assert not (bare and nested and "value" in cast.this.sql()), f"{model}: {cast.sql()}"


@pytest.mark.parametrize(
    "sql",
    [
        "select sum(x) over w from t window w as (order by y)",
        "select 1 from t where a is not distinct from b",
        "delete from t as e using u where e.x = u.x",
        "delete from t using (select 1 as x) as u where t.x = u.x",
        "select old.x from t as old",
        "select 1 as tag",
        "select model from (select 'users' as model) as t group by model",
    ],
)
def test_the_double_refuses_what_redshift_refuses(sql: str) -> None:
    with pytest.raises(RedshiftError):
        _refuse(sqlglot.parse_one(sql, read="redshift"))
