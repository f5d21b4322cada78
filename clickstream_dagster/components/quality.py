"""The part of a project's YAML about the quality of its data."""

from typing import Annotated

import dagster as dg

from clickstream_dagster.components.between import Between
from clickstream_dagster.components.fields import describe

Share = Annotated[float, Between(0, 1)]


class Quality(dg.Model, dg.Resolvable):
    """Bounds of the quality checks; what is outside them gets a warning."""

    max_bad_ratio: Annotated[
        Share, describe(description="Most events that may be unreadable, as a share of all.")
    ] = 0.02
    max_late_ratio: Annotated[
        Share,
        describe(description="Most events that may arrive more than an hour after their time."),
    ] = 0.1
    min_ua_coverage: Annotated[
        Share, describe(description="Least events whose user agent must be recognised.")
    ] = 0.5
    min_geo_coverage: Annotated[
        Share,
        describe(
            description="Least events whose address must have a place; with geo_database only."
        ),
    ] = 0.5
    max_silence_hours: Annotated[
        int,
        Between(1),
        describe(
            description="Hours that may pass without an event that arrives; after three times as "
            "many the warning is an error.",
            examples=[24, 48],
        ),
    ] = 24
