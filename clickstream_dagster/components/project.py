"""`ClickstreamProject`: a whole pipeline, raw files to views, from one YAML file."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from clickstream_dagster.assets.project import EMR_SERVERLESS, Project
from clickstream_dagster.checks.quality import Bounds
from clickstream_dagster.components.project_yaml import DEFAULT_WAREHOUSE, ProjectYaml
from clickstream_dagster.components.scaffolder import ClickstreamProjectScaffolder
from clickstream_dagster.components.warehouses import parity_defs
from clickstream_dagster.processing.plugins import PluginChoice

if TYPE_CHECKING:
    from clickstream_dagster.infra.infrastructure import Infrastructure
    from clickstream_dagster.resources.emr_serverless import EmrServerlessEngine
    from clickstream_dagster.resources.spark import SparkEngine
    from clickstream_dagster.resources.stack_outputs import StackOutputs


@dg.scaffold_with(ClickstreamProjectScaffolder)
class ClickstreamProject(dg.Component, ProjectYaml):
    """A clickstream project: its apps' behaviour events from raw files to views.

    Gives the assets `<project_id>/raw_batch`, `ods_event`, `bad_event`, `<engine>/<model>` for each
    warehouse and `lake_maintenance`, the jobs `<project_id>_pipeline`, `<project_id>_replay`,
    `<project_id>_maintenance`, `<project_id>_freshness` and, for each warehouse,
    `<project_id>_<engine>_tests`, the schedules `<project_id>_interval`,
    `<project_id>_maintenance`, `<project_id>_freshness` and `<project_id>_<engine>_tests`, and the
    sensors `<project_id>_arrivals` and, where collectors are watched, `<project_id>_collector`.
    Only project_id, app_ids and start_date are needed.
    """

    def infrastructure(self) -> "Infrastructure | None":
        """Give the modules that `infra` names, None without them. Makes no call to AWS."""
        from clickstream_dagster.components.infra_pipeline import infrastructure_of

        return infrastructure_of(self)

    def stacks(self) -> "StackOutputs | None":
        """Give the outputs of the project's stacks, None without `infra`."""
        if self.infra is None:
            return None
        from clickstream_dagster.components.infra_pipeline import aws_access
        from clickstream_dagster.resources.stack_outputs import StackOutputs

        return StackOutputs(self.project_id, aws_access(self), frozenset(self.infra.named()))

    def project(self, root: Path) -> Project:
        """Give the project as plain values, relative paths taken from `root`."""
        absolute = partial(self.place, root=root)
        duckdb = next((one for one in self.warehouses if one.engine == "duckdb"), None)
        file = absolute(duckdb.path, DEFAULT_WAREHOUSE) if duckdb else None
        return Project(
            project_id=self.project_id,
            app_ids=tuple(self.app_ids),
            raw=absolute(self.raw, "raw"),
            lake=absolute(self.lake, "lake"),
            warehouse=file,
            dbt_state=str(Path(file).parent / "dbt" / self.project_id) if file else None,
            partitions=self.partitions(),
            freshness_hours=self.freshness_days * 24,
            correct_clocks=self.correct_clocks,
            engine=self.engine,
            transformer=PluginChoice.of(self.transformer),
            enrichments=tuple(PluginChoice.of(one) for one in self.enrichments),
            root=str(root),
            geo_database=absolute(self.geo_database, "") if self.geo_database else None,
            owners=tuple(self.owners),
            bounds=Bounds(**self.quality.model_dump()),
            trigger=self.trigger,
            grace_minutes=self.grace_minutes,
            s3=self.s3.access(),
            queue_url=self.arrivals.queue_url,
            stacks=self.stacks(),
            maintenance=self.maintenance.settings(),
            maintenance_cron=self.maintenance.cron,
            definitions=self.definitions.definitions(),
            collector=self.collector.plan(
                self.project_id, absolute(self.raw, "raw"), self.s3.access(), root
            ),
        )

    def spark_engine(self) -> "SparkEngine | EmrServerlessEngine":
        """Give the engine that processes windows."""
        from clickstream_dagster.resources.spark import SparkEngine

        if self.engine == EMR_SERVERLESS and self.emr_serverless is not None:
            return self.emr_serverless.engine(self.s3, self.stacks())
        return SparkEngine(engine=self.engine)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Compose the project's assets, checks, jobs, schedules and sensor."""
        from clickstream_dagster.assets.events import lake_events
        from clickstream_dagster.assets.maintenance import lake_maintenance
        from clickstream_dagster.assets.raw import raw_batch
        from clickstream_dagster.automation.arrivals import arrival_sensor
        from clickstream_dagster.automation.collector_log import collector_sensor
        from clickstream_dagster.automation.replay import replay_job
        from clickstream_dagster.automation.schedules import (
            freshness_job,
            freshness_schedule,
            interval_schedule,
            maintenance_job,
            maintenance_schedule,
            pipeline_job,
        )
        from clickstream_dagster.checks.freshness import freshness_check
        from clickstream_dagster.resources.spark import SparkEngine

        project = self.project(context.project_root)
        job = pipeline_job(project)
        maintenance = maintenance_job(project)
        freshness = freshness_job(project)
        local = SparkEngine(engine=project.local_engine)
        always = dg.Definitions(
            assets=[
                raw_batch(project),
                lake_events(project, self.spark_engine()),
                lake_maintenance(project),
            ],
            asset_checks=[freshness_check(project)],
            jobs=[job, replay_job(project, local), maintenance, freshness],
            schedules=[
                interval_schedule(project, job),
                maintenance_schedule(project, maintenance),
                freshness_schedule(project, freshness),
            ],
            sensors=[
                arrival_sensor(project, job),
                *([collector_sensor(project)] if project.collector.metrics else []),
            ],
        )
        root = context.project_root
        defs = dg.Definitions.merge(
            always,
            *(one.defs(project, root) for one in self.warehouses),
            *(
                [parity_defs(project, self.warehouses, self.parity_days, root)]
                if self.parity_days is not None
                else []
            ),
        )
        infrastructure = self.infrastructure()
        if infrastructure is None:
            return defs
        from clickstream_dagster.assets.infra import with_infrastructure

        return with_infrastructure(defs, project, infrastructure)
