"""`clickstream redshift`: what an administrator does, on the double."""

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from clickstream_dagster.cli import app
from tests.dbt.model_input import PROJECT, event
from tests.redshift.conftest import Warehouse
from tests.redshift.traffic import traffic

Command = Callable[..., Result]


@pytest.fixture
def command(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command on the warehouse; boto3 finds the double's Data API by the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_REDSHIFT_DATA", warehouse.sql._client.meta.endpoint_url)
    monkeypatch.setenv("CLICKSTREAM_REDSHIFT_DATABASE", warehouse.engine.database)
    monkeypatch.setenv("CLICKSTREAM_REDSHIFT_WORKGROUP", "team")
    monkeypatch.setenv("COLUMNS", "200")

    def run(name: str, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["redshift", name, "--project-id", PROJECT, *arguments])

    return run


def output(result: Result) -> list[str]:
    """Lines that a command printed; it must have passed."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_set_up_makes_what_is_missing_and_can_run_again(
    warehouse: Warehouse, command: Command
) -> None:
    warehouse.engine.root.execute(f"drop schema {PROJECT} cascade")
    arguments = ["--from-database", "dev", "--app", "web.shop", "--app", "app"]
    told = [
        f"schema {PROJECT}: set up",
        "schema web_shop: views of the app web.shop",
        "schema app: views of the app app",
    ]
    assert output(command("set-up", *arguments)) == told
    assert output(command("set-up", *arguments)) == told
    warehouse.write([event("a", "2024-05-01 10:00", f"e-{one}", app=one) for one in ("app", "x")])
    warehouse.load()
    assert warehouse.engine.query("select event_id from app.ods_event") == [("e-app",)]


def test_a_missing_database_is_made_from_another(warehouse: Warehouse, command: Command) -> None:
    warehouse.api.requests.clear()
    output(command("set-up", "--database", "other", "--from-database", "dev"))
    calls = [body for _, body in warehouse.api.requests if "Database" in body]
    made = [body["Database"] for body in calls if body.get("Sql") == 'create database "other"']
    assert made == ["dev"]
    assert {body["Database"] for body in calls[2:]} == {"other"}


@pytest.mark.parametrize("kind", ["role", "group", "user"])
def test_a_grant_is_of_one_app(warehouse: Warehouse, command: Command, kind: str) -> None:
    output(command("set-up", "--app", "web.shop", "--app", "app"))
    assert output(command("grant", "--app", "web.shop", f"--{kind}", "analysts")) == [
        f"schema web_shop: the {kind} analysts may read the views of the app web.shop"
    ]
    grants = [sql for sql in warehouse.engine.statements if "grant " in sql]
    to = f'to {kind} "analysts"' if kind != "user" else 'to "analysts"'
    assert grants == [
        f'grant usage on schema "web_shop" {to}',
        f'grant select on all tables in schema "web_shop" {to}',
        f'alter default privileges in schema "web_shop" grant select on tables {to}',
    ]


def test_load_takes_in_what_is_new_and_the_users(warehouse: Warehouse, command: Command) -> None:
    arguments = ["--sink", warehouse.lake.root, "--manifests", warehouse.copy.manifests]
    warehouse.write([event("a", "2024-05-01 10:00", "e1", attributes={"n": 1})])
    assert output(command("load", *arguments)) == ["load 1: 1 events of 1 files, 0 files gone"]
    assert warehouse.events() == [("e1",)]
    assert warehouse.rows("dim_user") == []
    assert output(command("load", *arguments, "--users")) == [
        "nothing to load: Redshift has what the lake has",
        "users: 1 loads taken in",
    ]
    assert warehouse.rows("dim_user", "event_id") == [("e1",)]


def test_expire_shows_the_days_that_go(warehouse: Warehouse, command: Command) -> None:
    warehouse.write([event("a", f"2024-05-0{day} 10:00", f"e{day}") for day in (1, 2)])
    warehouse.load()
    dry = command("expire", "--days", "30", "--dry-run")
    assert "Would expire" in dry.stdout
    rows = [line.replace("│", " ").split() for line in output(dry)]
    assert ["2024-05-01", "shop", "1"] in rows
    assert ["2024-05-02", "shop", "1"] in rows
    assert ["all", "2"] in rows
    assert len(warehouse.events()) == 2
    done = command("expire", "--days", "30")
    assert output(done)[1:] == output(dry)[1:]  # but for the title
    assert warehouse.events() == []


def test_expired_days_are_told_and_come_back(warehouse: Warehouse, command: Command) -> None:
    assert output(command("bring-back")) == ["nothing has expired"]
    arguments = ["--sink", warehouse.lake.root, "--manifests", warehouse.copy.manifests, "--users"]
    warehouse.write([event("a", "2024-05-01 10:00", "e1", attributes={"n": 1})])
    output(command("load", *arguments))
    output(command("expire", "--days", "30"))
    warehouse.drop("b1")
    warehouse.write([event("a", "2024-05-01 11:00", "e2", user="u2", batch="b2")])
    told = "2024-05-01 of shop has changed in the lake since it expired: left as it was"
    assert told in output(command("load", *arguments))
    assert output(command("erase", "--app", "shop", "--user", "u1")) == ["dim_user: 1 rows"]
    assert output(command("erase", "--app", "shop", "--user", "u1")) == [
        "nothing is left of u1 in the app shop"
    ]
    (line,) = output(command("bring-back"))
    assert line.endswith("are loaded again by the next load")
    output(command("load", *arguments))
    assert warehouse.events() == [("e2",)]


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("set-up", ["--cluster", "c"], "needs either workgroup (Serverless) or cluster"),
        ("set-up", ["--db-user", "etl"], "db_user is for a cluster"),
        ("set-up", ["--app", "a.b", "--app", "a-b"], "would both have the schema a_b"),
        ("grant", ["--app", "web"], "write --role, --group or --user"),
        ("grant", ["--app", "web", "--role", "a", "--user", "b"], "write --role, --group or"),
        ("grant", ["--app", "web", "--role", 'x"; drop schema web'], "can't be a name"),
        ("load", ["--sink", "s3://a/b", "--manifests", "/tmp"], "/tmp is not on S3"),
        ("expire", ["--days", "0"], "write 1 or more"),
    ],
)
def test_what_is_wrong_is_told_plainly(
    command: Command, name: str, arguments: list[str], why: str
) -> None:
    result = command(name, *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert why in result.stderr


@pytest.mark.heavy
def test_model_builds_and_refreshes(warehouse: Warehouse, command: Command, tmp_path) -> None:
    import boto3

    secret = boto3.client("secretsmanager").create_secret(
        Name="redshift-model", SecretString=json.dumps({"username": "dbt", "password": "secret"})
    )
    warehouse.write(traffic(1))
    warehouse.load()
    warehouse.engine.root.execute(f"create view {PROJECT}.own as select 1")
    warehouse.engine.root.execute(f"insert into svv_mv_info values ('{PROJECT}', 'own', 't')")
    result = command(
        "model",
        *("--host", "127.0.0.1", "--port", str(warehouse.port), "--sslmode", "disable"),
        *("--secret-arn", secret["ARN"], "--scratch", str(tmp_path)),
    )
    assert output(result)[-1] == f"materialised view {PROJECT}.own: refreshed"
    assert len(warehouse.rows("clickstream_ods_event_view", "event_id")) == 60
