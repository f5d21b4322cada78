"""`dg scaffold defs clickstream_dagster.components.ClickstreamProject NAME --app-id ID`."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import click
import dagster as dg
from pydantic import BaseModel, Field

from clickstream_dagster.ids import APP_ID, APP_ID_RULE, PROJECT_ID, PROJECT_ID_RULE

COMPONENT = "clickstream_dagster.components.ClickstreamProject"

TEMPLATE = """\
# A clickstream project. Only the first three attributes are needed; the others show their defaults.
type: {component}

attributes:
  project_id: "{project_id}"
  app_ids: [{app_ids}]
  start_date: "{start_date}" # first window, UTC

  # raw: data/{project_id}/raw # where the collector stores files, or s3://bucket/prefix
  # lake: data/{project_id}/lake # Iceberg tables; or s3://bucket/prefix, with AWS Glue
  # warehouses: # one or more; or redshift (docs/redshift.md), athena (docs/athena.md)
  #   - engine: duckdb
  #     path: data/{project_id}/warehouse.duckdb
  #     tests_cron: "0 4 * * 0" # when all rows are tested; starts with the trigger

  # interval: 1 hour # or 12 hours, 1 day, a cron expression
  # grace_minutes: 10 # between the end of a window and its processing
  # freshness_days: 3 # events that arrive later are counted and dropped
  # correct_clocks: true # shift the events of clocks that are far off
  # trigger: schedule # or arrivals, both; without it, start them in the UI
  # arrivals:
  #   mode: listing # or sqs, with the queue_url of a queue that S3 sends notifications to

  # collector: # docs/collector.md
  #   path: /collect
  #   origins: [] # of pages that may send, as https://www.example.com
  #   sink: # files where raw says; or kinesis, kafka (docs/collector-sinks.md)
  #     buffer_mb: 30
  #     buffer_seconds: 300

  # engine: sail # or spark, sc://host:port, emr_serverless (docs/emr.md)
  # transformer: sdk
  # enrichments: [ua, ip] # traffic_source tells campaigns and channels
  # geo_database: data/geo/city.mmdb # `clickstream geo fetch` gets it; else events have no place

  # maintenance: # of the lake's files; starts with the trigger
  #   cron: "0 3 * * *"
  #   target_file_mb: 256
  #   keep_snapshots_days: 7
  #   orphans_after_hours: 72

  # infra: # what `clickstream infra` makes on AWS (docs/infrastructure/index.md)

  # owners: ["team:growth"]
  # quality: # a batch outside these bounds gets a warning
  #   max_bad_ratio: 0.02
  #   max_late_ratio: 0.1
  #   min_ua_coverage: 0.5
  #   min_geo_coverage: 0.5
"""


class ClickstreamProjectParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    app_id: Annotated[
        str, Field(description="Id of the app that sends events; more than one: web,android")
    ] = ""
    project_id: Annotated[
        str, Field(description="Id of the project, if it is not the name of the folder")
    ] = ""


class ClickstreamProjectScaffolder(dg.Scaffolder[ClickstreamProjectParams]):
    """Writes a commented defs.yaml that loads as it is."""

    @classmethod
    def get_scaffold_params(cls) -> type[ClickstreamProjectParams]:
        return ClickstreamProjectParams

    def scaffold(self, request: dg.ScaffoldRequest[ClickstreamProjectParams]) -> None:
        params: Any = request.params or ClickstreamProjectParams()
        name = re.sub(r"[^a-z0-9_]", "_", request.target_path.name.lower())
        project_id = params.project_id or name
        apps = [app.strip() for app in (params.app_id or project_id).split(",")]
        try:
            _require(PROJECT_ID, project_id, f"project id {project_id!r}: write {PROJECT_ID_RULE}")
            for app in apps:
                _require(APP_ID, app, f"app id {app!r}: write {APP_ID_RULE}")
        except click.UsageError:
            # dg has made the folder, and would refuse it the next time.
            with suppress(OSError):
                request.target_path.rmdir()
            raise
        request.target_path.mkdir(parents=True, exist_ok=True)
        (request.target_path / "defs.yaml").write_text(
            TEMPLATE.format(
                component=COMPONENT,
                project_id=project_id,
                app_ids=", ".join(f'"{app}"' for app in apps),
                start_date=(datetime.now(UTC) - timedelta(days=1)).date().isoformat(),
            )
        )


def _require(rule: re.Pattern[str], value: str, message: str) -> None:
    if not rule.fullmatch(value):
        raise click.UsageError(message)
