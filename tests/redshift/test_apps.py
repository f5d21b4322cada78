"""Each app has a schema with its own rows; stale materialised views are refreshed."""

import pytest

from clickstream_dagster.resources.dbt import models_of_apps
from clickstream_dagster.warehouses.redshift.apps import (
    app_schemas,
    create_app_views,
    grant_app,
    refresh,
)
from clickstream_dagster.warehouses.redshift.sql import RedshiftError
from tests.dbt.model_input import PROJECT, event
from tests.redshift.conftest import Warehouse
from tests.redshift.engine import RedshiftError as Refused
from tests.redshift.traffic import traffic
from tests.views import DAILY_REPORTS, REPORT_VIEWS, VIEWS


def test_a_view_shows_one_app(warehouse: Warehouse) -> None:
    warehouse.write(
        [event("a", "2024-05-01 10:00", f"e-{app}", app=app) for app in ("My.Shop-1", "other")]
    )
    warehouse.load()
    create_app_views(warehouse.sql, PROJECT, ["My.Shop-1", "other"], [])
    assert create_app_views(warehouse.sql, PROJECT, ["My.Shop-1", "other"], []) == {
        "My.Shop-1": "my_shop_1",
        "other": "other",
    }
    assert warehouse.engine.query("select event_id from my_shop_1.ods_event") == [("e-My.Shop-1",)]
    assert warehouse.engine.query("select event_id from other.ods_event") == [("e-other",)]


def test_a_grant_reaches_one_schema(warehouse: Warehouse) -> None:
    create_app_views(warehouse.sql, PROJECT, ["web"], [])
    grant_app(warehouse.sql, "web", "analysts")
    grants = [sql for sql in warehouse.engine.statements if "grant " in sql]
    assert len(grants) == 3
    assert all('schema "web"' in sql and 'to role "analysts"' in sql for sql in grants)
    with pytest.raises(RedshiftError, match="can't be a name"):
        grant_app(warehouse.sql, "web", 'x"; drop schema web; --')


@pytest.mark.parametrize("grantee", ["IAMR:analyst", "data-team", "IAM:ann.lee@example.com"])
def test_names_of_iam_and_of_teams(warehouse: Warehouse, grantee: str) -> None:
    create_app_views(warehouse.sql, PROJECT, ["web"], [])
    grant_app(warehouse.sql, "web", grantee, "user")
    grants = [sql for sql in warehouse.engine.statements if "grant " in sql]
    assert len(grants) == 3
    assert all(sql.endswith(f' to "{grantee}"') for sql in grants)


def test_later_views_of_whoever_makes_them_are_granted(warehouse: Warehouse) -> None:
    create_app_views(warehouse.sql, PROJECT, ["web"], [])
    grant_app(warehouse.sql, "web", "analysts", creators=["IAMR:dagster", "etl"])
    assert [sql for sql in warehouse.engine.statements if sql.startswith("alter default")] == [
        'alter default privileges for user "IAMR:dagster", "etl" in schema "web"'
        ' grant select on tables to role "analysts"'
    ]
    with pytest.raises(RedshiftError, match="can't be a name"):
        grant_app(warehouse.sql, "web", "analysts", creators=['x"'])


def test_an_app_sees_every_view_and_report() -> None:
    """The models themselves, and what is not of one app, it does not."""
    shown = set(models_of_apps())
    assert {*VIEWS, *REPORT_VIEWS, *DAILY_REPORTS} - shown == {"clickstream_days"}
    assert not [model for model in shown if model.endswith("_base")]


@pytest.mark.heavy
def test_reports_of_an_app_have_its_rows_alone(warehouse: Warehouse) -> None:
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.dbt("run")
    create_app_views(warehouse.sql, PROJECT, ["web.shop", "app"], models_of_apps())
    for report in (*VIEWS, *REPORT_VIEWS, *DAILY_REPORTS):
        if report == "clickstream_days":
            continue
        found = [
            row
            for schema in ("web_shop", "app")
            for row in warehouse.engine.query(f"select * from {schema}.{report}")
        ]
        assert sorted(found, key=str) == sorted(warehouse.rows(report), key=str), report
        apps = warehouse.engine.query(f"select distinct app_id from app.{report}")
        # No funnel is declared here.
        assert apps == ([] if "funnel" in report else [("app",)]), report


@pytest.mark.parametrize(
    ("apps", "why"),
    [
        (["a.b", "a-b"], "the app a-b and the app a.b would both have the schema a_b"),
        (["Web", "web"], "the app web and the app Web"),
        (["shop.project"], "the app shop.project and the project shop_project"),
        (["1x"], "no app id"),
    ],
)
def test_apps_that_can_not_have_a_schema(apps: list[str], why: str) -> None:
    with pytest.raises(RedshiftError, match=why):
        app_schemas(PROJECT, apps)


def test_stale_materialised_views_are_refreshed(warehouse: Warehouse) -> None:
    run = warehouse.engine.root.execute
    for view, stale in (("one", "t"), ("two", "t"), ("fresh", "f")):
        run(f"create view {PROJECT}.{view} as select 1")
        run(f"insert into svv_mv_info values ('{PROJECT}', '{view}', '{stale}')")
    run("insert into svv_mv_info values ('elsewhere', 'x', 't')")
    run(f"""create view {PROJECT}."odd""name" as select 1""")
    run(f"""insert into svv_mv_info values ('{PROJECT}', 'odd"name', 't')""")

    def fail(sql: str) -> None:
        if sql.startswith("refresh") and "one" in sql:
            raise Refused("no room")

    warehouse.engine.fail = fail
    with pytest.raises(RedshiftError, match="no room"):
        refresh(warehouse.sql, [PROJECT])
    assert [sql for sql in warehouse.engine.statements if sql.startswith("refresh")] == [
        f'refresh materialized view "{PROJECT}"."odd""name"',
        f'refresh materialized view "{PROJECT}"."one"',
        f'refresh materialized view "{PROJECT}"."two"',
    ]
    warehouse.engine.fail = lambda sql: None
    assert refresh(warehouse.sql, [PROJECT]) == [
        f'{PROJECT}.odd"name',
        f"{PROJECT}.one",
        f"{PROJECT}.two",
    ]
