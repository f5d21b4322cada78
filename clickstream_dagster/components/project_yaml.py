"""The keys of a project's YAML: what each may say, and what must go together.

Blocks are in files of their own; what is made of them all is in `project.py`.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Self

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator, model_validator

from clickstream_dagster.assets.project import EMR_SERVERLESS, Trigger
from clickstream_dagster.batches.interval import cron_of
from clickstream_dagster.batches.objects import S3_SCHEME, split_s3, would_list
from clickstream_dagster.components.between import Between
from clickstream_dagster.components.collector import Collector
from clickstream_dagster.components.definitions import ModelDefinitions
from clickstream_dagster.components.emr import EmrServerless
from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.infra import Infra
from clickstream_dagster.components.maintenance import Maintenance
from clickstream_dagster.components.plugins import (
    ChosenPlugin,
    require,
    resolve_plugin,
    resolve_plugins,
)
from clickstream_dagster.components.quality import Quality
from clickstream_dagster.components.sources import S3, Arrivals
from clickstream_dagster.components.warehouses import Warehouse
from clickstream_dagster.components.windows import utc, windows
from clickstream_dagster.errors import SettingError
from clickstream_dagster.ids import APP_ID, APP_ID_RULE, PROJECT_ID, PROJECT_ID_RULE
from clickstream_dagster.processing.engines import ENGINES
from clickstream_dagster.processing.plugins import (
    DEFAULT_ENRICHMENTS,
    DEFAULT_TRANSFORMER,
    ENRICHMENTS,
    TRANSFORMERS,
    PluginChoice,
)
from clickstream_dagster.resources.warehouse_name import require_own_name

DEFAULT_WAREHOUSE = "warehouse.duckdb"


class ProjectYaml(dg.Resolvable, dg.Model):
    """What a project's YAML says. Only project_id, app_ids and start_date are needed."""

    project_id: Annotated[
        str,
        describe(
            description=f"Id of the project: {PROJECT_ID_RULE}.",
            examples=["shop"],
        ),
    ]
    app_ids: Annotated[
        list[str],
        describe(
            description=f"Ids of the apps whose events are taken: each {APP_ID_RULE}. Events of "
            "other apps are counted and dropped.",
            examples=[["shop_web", "shop_android"]],
        ),
    ]
    raw: Annotated[
        str | None,
        describe(
            description="Where the collector stores raw files: a directory, relative to the "
            "Dagster project, or s3://bucket/prefix. The year= folders lie directly in it. "
            "Default: data/<project_id>/raw.",
            examples=["s3://my-bucket/clickstream/shop"],
        ),
    ] = None
    lake: Annotated[
        str | None,
        describe(
            description="Where the lake is, with its Iceberg tables and the ledger: a directory, "
            "relative to the Dagster project, or s3://bucket/prefix with AWS Glue as the catalog. "
            "Default: data/<project_id>/lake.",
            examples=["data/shop/lake", "s3://my-bucket/lake"],
        ),
    ] = None
    s3: Annotated[
        S3, describe(description="How S3 is reached, for raw files and a lake that are there.")
    ] = Field(default_factory=S3)
    arrivals: Annotated[
        Arrivals, describe(description="How the arrival sensor notices raw files.")
    ] = Field(default_factory=Arrivals)
    collector: Annotated[
        Collector,
        describe(description="The collector: who may send, its sink, how it is watched."),
    ] = Field(default_factory=Collector)
    warehouses: Annotated[
        list[Warehouse],
        describe(
            description="Warehouses that the models are built in; one of each engine.",
        ),
    ] = Field(default_factory=lambda: [Warehouse()])
    parity_days: Annotated[
        int | None,
        Between(1),
        describe(
            description="For how many days back counts and sums are compared between the "
            "warehouses, as a check behind each build. Default: they are not compared.",
            examples=[7],
        ),
    ] = None
    interval: Annotated[
        str,
        describe(
            description="Processing interval, in UTC: a fixed rate or a cron expression.",
            examples=["1 hour", "12 hours", "1 day", "0 */6 * * *", "cron(0 0,12 * ? *)"],
        ),
    ] = "1 hour"
    start_date: Annotated[
        str,
        describe(
            description="Begin of the first window, in UTC. Older raw files are left alone.",
            examples=["2026-11-01", "2026-11-01T06:00"],
        ),
    ]
    end_date: Annotated[
        str | None,
        describe(
            description="End of the last window, in UTC, for a project that is over. "
            "Default: none.",
            examples=["2026-12-01"],
        ),
    ] = None
    grace_minutes: Annotated[
        int,
        Between(0, 59),
        describe(
            description="Minutes between the end of a window and its processing, for files that "
            "the collector stores a little later.",
        ),
    ] = 10
    freshness_days: Annotated[
        int,
        Between(1, 3650),
        describe(
            description="Events that arrive more than this many days after they happened are "
            "counted and dropped.",
            examples=[3, 5, 30],
        ),
    ] = 3
    correct_clocks: Annotated[
        bool,
        describe(
            description="Shift the events of clocks that are more than 10 minutes off, by the time "
            "of upload that the SDK sends; event_timestamp_original keeps what was sent.",
        ),
    ] = True
    engine: Annotated[
        str,
        describe(
            description="Spark engine: sail (in this process), spark (local, needs Java), the "
            "address of a Spark Connect server, sc://host:port, or emr_serverless, with its block.",
            examples=["sail", "spark", "sc://spark.internal:15002", EMR_SERVERLESS],
        ),
    ] = "sail"
    emr_serverless: Annotated[
        EmrServerless | None,
        describe(
            description="Where job runs of the engine emr_serverless run, and with what capacity."
        ),
    ] = None
    transformer: Annotated[
        str | PluginChoice,
        dg.Resolver(
            resolve_plugin,
            model_field_type=str | ChosenPlugin,
            description="Plug-in that reads the requests, exactly one: a registered name or "
            "module:Class, or {name, config}.",
            examples=["sdk"],
        ),
    ] = DEFAULT_TRANSFORMER
    enrichments: Annotated[
        list[str | PluginChoice],
        dg.Resolver(
            resolve_plugins,
            model_field_type=list[str | ChosenPlugin],
            description="Plug-ins that add to the events, in this order: each a registered name "
            "or module:Class, or {name, config}.",
            examples=[
                ["ua", "ip"],
                ["ua", {"name": "my_plugins:Loyalty", "config": {"attribute": "tier"}}],
            ],
        ),
    ] = Field(default_factory=lambda: list(DEFAULT_ENRICHMENTS))
    geo_database: Annotated[
        str | None,
        describe(
            description="MMDB file of cities for the enrichment ip, relative to the Dagster "
            "project. Without it events have no place.",
            examples=["data/GeoLite2-City.mmdb"],
        ),
    ] = None
    owners: Annotated[
        list[str],
        describe(
            description="Owners of the assets: e-mail addresses or team:name.",
        ),
    ] = Field(default_factory=list)
    maintenance: Annotated[
        Maintenance, describe(description="How the lake's files are kept in good order, and when.")
    ] = Field(default_factory=Maintenance)
    definitions: Annotated[
        ModelDefinitions, describe(description="What the models count as what.")
    ] = Field(default_factory=ModelDefinitions)
    quality: Annotated[Quality, describe(description="Bounds of the quality checks.")] = Field(
        default_factory=Quality
    )
    infra: Annotated[
        Infra | None,
        describe(
            description="Infrastructure on AWS that clickstream infra makes: a module for each "
            "block that is written. Default: none; what is there is used."
        ),
    ] = None
    trigger: Annotated[
        Trigger | None,
        describe(
            description="What starts by itself when the deployment starts: the interval schedule, "
            "the arrival sensor, or both. Default: none; start them in the UI.",
            examples=["schedule"],
        ),
    ] = None

    @field_validator("project_id")
    @classmethod
    def _project_id(cls, value: str) -> str:
        if not PROJECT_ID.fullmatch(value):
            raise ValueError(f"project_id {value!r}: write {PROJECT_ID_RULE}")
        return value

    @field_validator("app_ids")
    @classmethod
    def _app_ids(cls, values: list[str]) -> list[str]:
        if not values:
            raise ValueError("app_ids is empty: write at least one app id")
        for value in values:
            if not APP_ID.fullmatch(value):
                raise ValueError(f"app_ids {value!r}: write {APP_ID_RULE}")
            if values.count(value) > 1:
                raise ValueError(f"app_ids has {value!r} twice: write it once")
        return values

    @field_validator("start_date", "end_date", mode="before")
    @classmethod
    def _moment(cls, value: object) -> object:
        # YAML reads an unquoted 2026-11-01 as a date.
        if isinstance(value, date):
            value = value.isoformat()
        if isinstance(value, str):
            try:
                utc(value)
            except ValueError as error:
                raise ValueError(
                    f"{value!r} is no date: write 2026-11-01 or 2026-11-01T06:00 (UTC)"
                ) from error
        return value

    @field_validator("engine")
    @classmethod
    def _engine(cls, value: str) -> str:
        if value not in (*ENGINES, EMR_SERVERLESS) and not value.startswith("sc://"):
            raise ValueError(
                f"engine {value!r}: write sail, spark or sc://host:port, or {EMR_SERVERLESS}"
            )
        return value

    @field_validator("transformer")
    @classmethod
    def _transformer(cls, value: str | PluginChoice) -> str | PluginChoice:
        require(value, TRANSFORMERS)
        return value

    @field_validator("enrichments")
    @classmethod
    def _enrichments(cls, values: list[str | PluginChoice]) -> list[str | PluginChoice]:
        for value in values:
            require(value, ENRICHMENTS)
        return values

    @field_validator("raw", "lake")
    @classmethod
    def _places(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and "://" in value:
            if not value.startswith(S3_SCHEME):
                raise ValueError(
                    f"{info.field_name} {value!r}: write a directory or s3://bucket/prefix"
                )
            split_s3(value)
        return value

    @field_validator("warehouses")
    @classmethod
    def _warehouses(cls, values: list[Warehouse]) -> list[Warehouse]:
        engines = [value.engine for value in values]
        if len(engines) > len(set(engines)):
            raise ValueError("warehouses has an engine twice: write each engine once")
        return values

    @model_validator(mode="after")
    def _lake_beside_raw(self) -> Self:
        raw = self.place(self.raw, "raw")
        lake = self.place(self.lake, "lake")
        if would_list(raw, f"{lake}/{self.project_id}"):
            raise ValueError(
                f"lake {lake!r} lies in raw {raw!r}, so that the lake's own files would be read as "
                "raw files: write a lake beside it, or a folder in it that begins with _"
            )
        return self

    @model_validator(mode="after")
    def _places_of_emr(self) -> Self:
        if self.engine != EMR_SERVERLESS:
            return self
        if self.emr_serverless is None:
            raise ValueError(
                f"engine {EMR_SERVERLESS} needs the block emr_serverless: write application_id, "
                "execution_role_arn and artifacts there"
            )
        for key, value in (("raw", self.raw), ("lake", self.lake)):
            if not (value or "").startswith(S3_SCHEME):
                raise ValueError(
                    f"engine {EMR_SERVERLESS} reads and writes S3 only: write {key}: "
                    "s3://bucket/prefix"
                )
        if self.infra is None or self.infra.processing is None:
            self.emr_serverless.require_ids()
        return self

    @model_validator(mode="after")
    def _parity(self) -> Self:
        if self.parity_days is not None and len(self.warehouses) < 2:
            raise ValueError(
                "parity_days compares warehouses: write two or more of them, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _lake_of_warehouses(self) -> Self:
        for warehouse in self.warehouses:
            on_s3 = (self.lake or "").startswith(S3_SCHEME)
            if warehouse.engine != "duckdb" and not on_s3:
                raise ValueError(
                    f"{warehouse.engine} reads the lake from S3: write lake: s3://bucket/prefix"
                )
        for warehouse in self.warehouses:
            if warehouse.athena is not None and not (self.infra and self.infra.athena):
                warehouse.athena.require_work_group()
            if warehouse.redshift is not None and not (self.infra and self.infra.redshift):
                warehouse.redshift.require_place()
        if all(warehouse.redshift is None for warehouse in self.warehouses):
            return self
        from clickstream_dagster.warehouses.redshift.apps import app_schemas
        from clickstream_dagster.warehouses.redshift.sql import RedshiftError

        try:
            app_schemas(self.project_id, self.app_ids)
        except RedshiftError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _raw_of_sink(self) -> Self:
        self.collector.sink.require_raw(self.place(self.raw, "raw"))
        return self

    @model_validator(mode="after")
    def _raw_of_queue(self) -> Self:
        if self.infra is None or self.infra.arrivals is None:
            self.arrivals.require_queue()
        if self.arrivals.mode == "sqs" and not (self.raw or "").startswith(S3_SCHEME):
            raise ValueError(
                "arrivals by sqs needs raw files in S3: write raw: s3://bucket/prefix, or mode: "
                "listing"
            )
        return self

    @model_validator(mode="after")
    def _windows(self) -> Self:
        from clickstream_dagster.automation.schedules import delayed

        try:
            cron = cron_of(self.interval)
            self.partitions()
            delayed(cron, self.grace_minutes)
        except SettingError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _warehouse_names(self) -> Self:
        try:
            for warehouse in self.warehouses:
                require_own_name(self.project_id, Path(warehouse.path or DEFAULT_WAREHOUSE))
        except SettingError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _infrastructure(self) -> Self:
        if self.infra is None:
            return self
        from clickstream_dagster.components.infra_pipeline import pipeline_of
        from clickstream_dagster.infra.rules import rule_faults

        faults = rule_faults(self.infra.values(), pipeline_of(self))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def partitions(self) -> dg.TimeWindowPartitionsDefinition:
        """Give the windows of the interval. Raises SettingError for more than Dagster can show."""
        return windows(self.interval, self.start_date, self.end_date)

    def place(self, path: str | None, default: str, root: Path = Path()) -> str:
        """Give a path below `root`, or an address on S3, as written; else the project's default."""
        place = path or f"data/{self.project_id}/{default}"
        return place if place.startswith(S3_SCHEME) else str(root / Path(place).expanduser())
