"""What a batch is processed with: values that are checked before anything starts."""

from dataclasses import dataclass, field

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import SettingError
from clickstream_dagster.ids import APP_ID, APP_ID_RULE, PROJECT_ID, PROJECT_ID_RULE
from clickstream_dagster.processing.plugins import (
    DEFAULT_ENRICHMENTS,
    DEFAULT_TRANSFORMER,
    PluginChoice,
)

_MOST_FRESHNESS_HOURS = 24 * 3_650


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """What a batch is processed with. Raises SettingError for values that can't be right.

    `sink` is the lake: a directory or `s3://bucket/prefix`. `batch` names the batch: a second run
    under the same name replaces what the first one wrote. `freshness_hours` is the age at arrival
    above which an event is dropped (seed 000, "Execution parameters"). `correct_clocks` shifts the
    events of clocks that are far off. Plug-ins are named, or chosen with a config, whose relative
    paths start from `root`. `s3` is how a source and a sink on S3 are reached.
    """

    project_id: str
    app_ids: tuple[str, ...]
    sink: str
    batch: str
    freshness_hours: int = 72
    geo_database: str | None = None
    transformer: str | PluginChoice = DEFAULT_TRANSFORMER
    enrichments: tuple[str | PluginChoice, ...] = DEFAULT_ENRICHMENTS
    root: str = ""
    correct_clocks: bool = True
    s3: S3Access = field(default_factory=S3Access)

    def __post_init__(self) -> None:
        if not PROJECT_ID.fullmatch(self.project_id):
            raise SettingError(f"project id {self.project_id!r}: write {PROJECT_ID_RULE}")
        if not self.app_ids:
            raise SettingError("no app id: name at least one app whose events are taken")
        for app_id in self.app_ids:
            if not APP_ID.fullmatch(app_id):
                raise SettingError(f"app id {app_id!r}: write {APP_ID_RULE}")
        if not self.batch:
            raise SettingError("the batch's name is empty: write one, or leave it out")
        if not 1 <= self.freshness_hours <= _MOST_FRESHNESS_HOURS:
            raise SettingError(
                f"freshness is {self.freshness_hours} hours: write 1 to {_MOST_FRESHNESS_HOURS:,}"
            )
        if "://" in self.sink and not self.sink.startswith(("file://", S3_SCHEME)):
            raise SettingError(f"sink {self.sink}: write a directory or s3://bucket/prefix")
