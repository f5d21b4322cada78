"""The part of a project's YAML about maintenance of its lake."""

from typing import Annotated

import dagster as dg
from pydantic import field_validator, model_validator

from clickstream_dagster.components.cron import checked_cron
from clickstream_dagster.components.fields import describe
from clickstream_dagster.errors import SettingError
from clickstream_dagster.processing.maintenance import MaintenanceSettings


class Maintenance(dg.Model, dg.Resolvable):
    """How the lake's files are kept few, and when old ones go."""

    cron: Annotated[
        str,
        describe(
            description="When the lake is maintained, as five cron fields in UTC. The schedule "
            "starts by itself when the project has a trigger.",
            examples=["0 3 * * *"],
        ),
    ] = "0 3 * * *"
    target_file_mb: Annotated[
        int,
        describe(
            description="Size of compacted data files; files below half of it are compacted.",
            examples=[128, 256, 512],
        ),
    ] = 256
    keep_snapshots_days: Annotated[
        int,
        describe(description="Days for which a snapshot can be read after its replacement."),
    ] = 7
    orphans_after_hours: Annotated[
        int,
        describe(description="Age above which files that no snapshot needs are removed."),
    ] = 72

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        return checked_cron("cron", value, "0 3 * * *")

    @model_validator(mode="after")
    def _settings(self) -> "Maintenance":
        try:
            self.settings()
        except SettingError as error:
            raise ValueError(str(error)) from error
        return self

    def settings(self) -> MaintenanceSettings:
        """Give the settings as a plain value."""
        return MaintenanceSettings(
            target_mb=self.target_file_mb,
            keep_snapshots_days=self.keep_snapshots_days,
            orphans_after_hours=self.orphans_after_hours,
        )
