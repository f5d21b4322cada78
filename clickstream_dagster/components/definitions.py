"""The part of a project's YAML about what its models mean by session, view, day and so on."""

from typing import Annotated

import dagster as dg
from pydantic import Field, model_validator

from clickstream_dagster.components.fields import describe
from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.definitions import Definitions, Weekday
from clickstream_dagster.resources.funnels import funnels_of

_DEFAULT = Definitions()


class ConditionDefinition(dg.Model, dg.Resolvable):
    """What a parameter of a step's event has to be; write exactly one of the tests."""

    parameter: Annotated[str, describe(description="Name of the parameter.")]
    equals: Annotated[
        str | int | float | None, describe(description="The value, a text or a number.")
    ] = None
    one_of: Annotated[list[str] | None, describe(description="The texts that it may be.")] = None
    at_least: Annotated[float | None, describe(description="The least number.")] = None
    at_most: Annotated[float | None, describe(description="The greatest number.")] = None


class StepDefinition(dg.Model, dg.Resolvable):
    """A step of a funnel."""

    event: Annotated[str, describe(description="Name of the event.", examples=["add_button_click"])]
    where: Annotated[
        list[ConditionDefinition],
        describe(
            description="Conditions on parameters of the event, which must all hold.",
            examples=[[{"parameter": "value", "at_least": 10}]],
        ),
    ] = Field(default_factory=list)


class FunnelDefinition(dg.Model, dg.Resolvable):
    """A funnel: users that take some steps in their order."""

    name: Annotated[str, describe(description="Name of the funnel.", examples=["note"])]
    steps: Annotated[
        list[StepDefinition],
        describe(
            description="The steps in their order, 2 to 10.",
            examples=[[{"event": "user_login"}, {"event": "note_create"}]],
        ),
    ]
    window_minutes: Annotated[
        int,
        describe(
            description="Minutes after the first step within which the others must follow.",
            examples=[60, 1440],
        ),
    ] = 7 * 24 * 60
    by: Annotated[
        str | None,
        describe(
            description="Column of the first step's event to count users by.",
            examples=["platform", "geo_country"],
        ),
    ] = None


class ModelDefinitions(dg.Model, dg.Resolvable):
    """What the models count as what. A change builds what depends on it anew."""

    session_idle_minutes: Annotated[
        int,
        describe(
            description="Events that come without session id: minutes without one after which the "
            "user's session is over. At most a day.",
            examples=[30],
        ),
    ] = _DEFAULT.session_idle_minutes
    engaged_session_ms: Annotated[
        int, describe(description="A session that lasts more than this many ms is engaged.")
    ] = _DEFAULT.engaged_session_ms
    engaged_session_views: Annotated[
        int, describe(description="A session with more than this many views is engaged.")
    ] = _DEFAULT.engaged_session_views
    retention_days: Annotated[
        int,
        describe(
            description="Last day after the first one that retention is told for.",
            examples=[42, 90],
        ),
    ] = _DEFAULT.retention_days
    week_start: Annotated[Weekday, describe(description="First day of the week.")] = (
        _DEFAULT.week_start
    )
    time_zone: Annotated[
        str,
        describe(
            description="Reporting time zone, by its name in the IANA database: the days, weeks "
            "and hours of reports are those of its clocks. event_date stays the day in UTC.",
            examples=["UTC", "Europe/Berlin"],
        ),
    ] = _DEFAULT.time_zone
    view_events: Annotated[
        dict[str, str],
        describe(
            description="Events that count as a view, each with the parameter that has the name of "
            "what is viewed.",
            examples=[{"_screen_view": "_screen_name", "_page_view": "_page_title"}],
        ),
    ] = Field(default_factory=lambda: dict(_DEFAULT.view_events))
    first_touch_events: Annotated[
        list[str],
        describe(
            description="Events that make a user known: the earliest one describes the user.",
            examples=[["_first_open", "_first_visit"]],
        ),
    ] = Field(default_factory=lambda: list(_DEFAULT.first_touch_events))
    purchase_events: Annotated[
        list[str],
        describe(
            description="Events that count as a purchase, worth their event_value_in_usd.",
            examples=[["purchase"]],
        ),
    ] = Field(default_factory=lambda: list(_DEFAULT.purchase_events))

    funnels: Annotated[
        list[FunnelDefinition],
        describe(description="Funnels for the model clickstream_funnels."),
    ] = Field(default_factory=list)

    @model_validator(mode="after")
    def _definitions(self) -> "ModelDefinitions":
        try:
            self.definitions()
        except SettingError as error:
            raise ValueError(str(error)) from error
        return self

    def definitions(self) -> Definitions:
        """Give the definitions as a plain value."""
        values = self.model_dump(exclude_none=True)
        values["funnels"] = funnels_of(values["funnels"])
        for key in ("first_touch_events", "purchase_events"):
            values[key] = tuple(values[key])
        return Definitions(**values)
