"""The calls of the Data API: as AWS takes them, with errors that name the statement."""

from collections.abc import Callable, Iterator

import pytest

from clickstream_dagster.warehouses.redshift.data_api import Cluster, DataApi, Workgroup
from clickstream_dagster.warehouses.redshift.sql import RedshiftError, literal
from clickstream_dagster.warehouses.redshift.tables import create_database
from tests.redshift import data_api
from tests.redshift.engine import Engine

TEAM = Workgroup("team")
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:redshift"


@pytest.fixture
def double(aws) -> data_api.DataApiDouble:
    return data_api.DataApiDouble(Engine("dev"))


@pytest.fixture
def connect(double: data_api.DataApiDouble) -> Iterator[Callable[..., DataApi]]:
    with data_api.serving(double) as address:
        yield lambda place=TEAM, **more: DataApi(
            place, "dev", endpoint_url=address, sleep=lambda seconds: None, **more
        )


@pytest.mark.parametrize(
    ("place", "sent"),
    [
        (Cluster("c"), {"ClusterIdentifier": "c"}),
        (Cluster("c", db_user="etl"), {"ClusterIdentifier": "c", "DbUser": "etl"}),
        (Cluster("c", secret_arn=SECRET), {"ClusterIdentifier": "c", "SecretArn": SECRET}),
        (Workgroup("www"), {"WorkgroupName": "www"}),
        (Workgroup("www", SECRET), {"WorkgroupName": "www", "SecretArn": SECRET}),
    ],
)
def test_each_way_to_sign_in(connect, double, place: object, sent: dict[str, str]) -> None:
    assert connect(place).query("select 1, 'a', null, true, cast(1.5 as double precision)") == [
        (1, "a", None, True, 1.5)
    ]
    action, request = double.requests[0]
    assert action == "ExecuteStatement"
    assert {**sent, "Database": "dev"}.items() <= request.items()
    assert not {"ClusterIdentifier", "WorkgroupName", "DbUser", "SecretArn"} - sent.keys() & (
        request.keys()
    )


def test_moto_takes_the_calls(aws) -> None:
    sql = DataApi(Cluster("c", db_user="etl"), "dev", sleep=lambda seconds: None, timeout=0.2)
    # moto never ends a statement.
    with pytest.raises(RedshiftError, match="the statement is select 1"):
        sql.query("select 1")


def test_pages_of_a_result(connect, double) -> None:
    double.page = 2
    assert connect().query("select * from range(5)") == [(0,), (1,), (2,), (3,), (4,)]


def test_a_transaction_is_all_or_nothing(connect, double) -> None:
    sql = connect()
    sql.execute("create table t (a bigint)")
    sql.transaction(["insert into t (a) values (1)", "insert into t (a) values (2)"])
    with pytest.raises(
        RedshiftError, match=r"(?s)the workgroup team, database dev: .*nope.*select nope"
    ):
        sql.transaction(["insert into t (a) values (3)", "select nope from t"])
    assert sql.query("select a from t order by a") == [(1,), (2,)]


def test_limits_of_the_api(connect, double) -> None:
    with pytest.raises(RedshiftError, match="40 statements in one transaction, these are 41"):
        connect().transaction(["select 1"] * 41)
    with pytest.raises(RedshiftError, match="100000 bytes in one statement; longer is select 'xx"):
        connect().execute(f"select '{'x' * 100_000}'")
    assert double.requests == []


@pytest.mark.parametrize("text", ["it's", "a\\b", "", 'say "x"', "ünï"])
def test_literals_come_back_as_they_were(connect, text: str) -> None:
    assert connect().query(f"select {literal(text)}") == [(text,)]


def test_a_database_is_made_once(connect, double) -> None:
    create_database(connect(), "shop")
    assert 'create database "shop"' in double.engine.statements
    double.engine.statements.clear()
    create_database(connect(), "dev")
    assert not [sql for sql in double.engine.statements if sql.startswith("create")]


def test_a_server_that_can_not_be_reached(aws) -> None:
    sql = DataApi(Workgroup("team"), "dev", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(RedshiftError, match="the Data API of the workgroup team"):
        sql.query("select 1")
