"""MetricFlow takes the semantic models, and its metrics are what the bases say."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import yaml

from clickstream_dagster.resources.dbt import Warehouse, dbt_project_dir, run_dbt
from tests.dbt.model_input import PROJECT, event, traffic, write

pytestmark = pytest.mark.heavy

METRICS = dbt_project_dir() / "models" / "reports" / "metrics.yml"

# Each metric by day, from tables that its semantic model does not read.
SESSIONS = {
    "sessions": "count(*)",
    "engaged_sessions": "sum(engaged_session)",
    "engagement_rate": "avg(engaged_session)",
    "views": "sum(session_views)",
    "views_per_session": "avg(session_views)",
    "engagement_time": "sum(session_engagement_time)",
    "engagement_time_per_session": "avg(session_engagement_time)",
}
MONTH = "r.report_date between d.report_date - 29 and d.report_date"
USERS = {
    "new_users": """
        select d.report_date as day, count(*) filter (u.first_active_date = d.report_date)
        from clickstream_user_day_base as d
        inner join clickstream_user_base as u using (app_id, user_pseudo_id)
        group by day""",
    "daily_active_users": """
        select report_date as day, count(*) from clickstream_user_day_base group by day""",
    "monthly_active_users": f"""
        select d.report_date as day, count(distinct (r.app_id, r.user_pseudo_id))
        from (select distinct app_id, report_date from clickstream_user_day_base) as d
        inner join clickstream_user_day_base as r on d.app_id = r.app_id and {MONTH}
        group by day""",
    "purchases": """
        select event_date as day, count(*) filter (event_name = 'purchase')
        from clickstream_event_base where user_pseudo_id is not null group by day""",
    "purchase_value": """
        select event_date as day,
            coalesce(sum(event_value_in_usd) filter (event_name = 'purchase'), 0)
        from clickstream_event_base where user_pseudo_id is not null group by day""",
}


@dataclass
class MetricFlow:
    """A copy of the dbt project, where `mf` works, with a warehouse that is built."""

    directory: Path
    warehouse: Warehouse

    def run(self, *arguments: str) -> str:
        """Run `mf`; give what it prints."""
        settings = self.warehouse.environment() | {
            "DBT_PROJECT_DIR": str(self.directory),
            "DBT_PROFILES_DIR": str(self.directory),
            "DBT_TARGET_PATH": str(self.directory / "target"),
        }
        done = subprocess.run(
            [Path(sys.executable).parent / "mf", *arguments],
            cwd=self.directory,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def query(self, sql: str) -> list[tuple]:
        """Rows of the warehouse."""
        with duckdb.connect(str(self.warehouse.file)) as connection:
            connection.execute(f"set schema = '{PROJECT}'")
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def metricflow(tmp_path_factory: pytest.TempPathFactory) -> MetricFlow:
    root = tmp_path_factory.mktemp("metricflow")
    (root / "lake").mkdir()
    purchases = [
        event("purchase", f"2024-12-{day} 10:00", f"p{day}", app="web", event_value_in_usd=day / 4)
        for day in (29, 30)
    ]
    ended = [event("a", "2024-12-20 10:00", f"{user}", app="ended", user=user) for user in "ab"]
    write(root / "lake", [*traffic(1), *traffic(2), *purchases, *ended])
    warehouse = Warehouse(root / "lake", PROJECT, root / "warehouse.duckdb")
    run_dbt(["run", "--quiet"], warehouse)
    ignored = shutil.ignore_patterns("target", "logs")
    directory = shutil.copytree(dbt_project_dir(), root / "project", ignore=ignored)
    (directory / "target").mkdir()
    for name in ("manifest.json", "semantic_manifest.json"):
        shutil.copy(warehouse.scratch / "target" / name, directory / "target")
    return MetricFlow(directory, warehouse)


def test_the_semantic_models_are_valid_and_fit_their_tables(metricflow: MetricFlow) -> None:
    printed = metricflow.run("validate-configs")
    assert printed.count("(ERRORS: 0, FUTURE_ERRORS: 0, WARNINGS: 0)") == 6, printed
    assert "validated metrics against data warehouse" in printed


def test_metrics_of_a_day_are_those_of_sessions_and_users(metricflow: MetricFlow) -> None:
    names = [metric["name"] for metric in yaml.safe_load(METRICS.read_text())["metrics"]]
    expected: dict[str, dict[str, float]] = {
        name: {
            str(day): value
            for day, value in metricflow.query(
                f"select cast(session_date as date) as day, {sql} from clickstream_session_view"
                " group by day"
            )
        }
        for name, sql in SESSIONS.items()
    }
    for name, sql in USERS.items():
        expected[name] = {str(day): value for day, value in metricflow.query(sql)}
    expected["dau_mau"] = {
        day: users / expected["monthly_active_users"][day]
        for day, users in expected["daily_active_users"].items()
    }
    assert set(expected) == set(names)

    file = metricflow.directory / "metrics.csv"
    metricflow.run(
        "query", "--metrics", ",".join(names), "--group-by", "metric_time", "--csv", str(file)
    )
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) > 3
    for name in names:
        found = {row["metric_time__day"][:10]: float(row[name]) for row in rows if row[name]}
        wanted = {day: float(value) for day, value in expected[name].items()}
        assert found == pytest.approx(wanted), name


def test_the_last_day_of_a_period_is_each_apps_own(metricflow: MetricFlow) -> None:
    names = ("daily_active_users", "monthly_active_users")
    expected = metricflow.query(
        f"select app_id, {', '.join(names)} from clickstream_active_users_daily"
        " qualify row_number() over (partition by app_id order by report_date desc) = 1"
    )
    assert len(expected) == 3
    file = metricflow.directory / "apps.csv"
    by_app = ("--group-by", "active_day__app_id", "--csv", str(file))
    metricflow.run("query", "--metrics", ",".join(names), *by_app)
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    found = {(row["active_day__app_id"], *(float(row[name]) for name in names)) for row in rows}
    assert found == set(expected)
