"""Schedules of a project in Redshift: its users and apps' views, and the expiry of old events."""

import dagster as dg

from clickstream_dagster.assets.project import Project
from clickstream_dagster.assets.redshift import APP_VIEWS, ENGINE, EXPIRED, USERS


def redshift_automation(
    project: Project, users_cron: str, expiry_cron: str | None
) -> dg.Definitions:
    """Build the jobs and schedules; without `expiry_cron` nothing expires.

    They start by themselves when the project has a trigger.
    """
    found = [_scheduled(project, "redshift_users", (USERS, APP_VIEWS), users_cron)]
    if expiry_cron is not None:
        found.append(_scheduled(project, "redshift_expiry", (EXPIRED,), expiry_cron))
    return dg.Definitions(schedules=found, jobs=[schedule.job for schedule in found])


def _scheduled(
    project: Project, name: str, assets: tuple[str, ...], cron: str
) -> dg.ScheduleDefinition:
    keys = [project.key(ENGINE, asset) for asset in assets]
    return dg.ScheduleDefinition(
        name=project.name(name),
        job=dg.define_asset_job(
            project.name(name), dg.AssetSelection.assets(*keys), tags=project.tags
        ),
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING
        if project.trigger
        else dg.DefaultScheduleStatus.STOPPED,
        tags=project.tags,
    )
