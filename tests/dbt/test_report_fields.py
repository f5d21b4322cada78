"""Each field of the seed's six reports has a column, and docs/reports.md says which."""

import re
from pathlib import Path

import pytest
import yaml

from clickstream_dagster.resources.dbt import dbt_project_dir

# Seed 000, the "Dimensions and metrics" table of each report chapter.
FIELDS = {
    "Acquisition": """user_pseudo_id, user_id, first_visit_date, first_install_source,
        first_visit_device_language, first_platform, first_visit_country, first_visit_city,
        custom_attr_key, custom_attr_value, is_registered""",
    "Engagement": """session_id, user_pseudo_id, platform, session_duration, session_views,
        engaged_session, session_start_timestamp, session_engagement_time, entry_view, exit_view,
        Average engaged session per user, Average engagement time per session,
        Average engagement time per user, Average screen view per user""",
    "Activity": """event_id, event_name, platform, Event User Type, event_date, event_timestamp,
        app_info_version, event_parameter_key, event_parameter_value,
        User activity number in last 7 days, User activity number in last 30 days""",
    "Retention": """Daily Active User (DAU), Weekly Active User (WAU), Monthly Active User (MAU),
        user_pseudo_id, user_id, DAU/WAU, WAU/MAU, DAU/MAU, Event User Type, User first touch date,
        Retention rate, time_period, this_week_value, this_day_value""",
    "Device": """device_id, user_pseudo_id, user_id, event_date, mobile_brand_name,
        mobile_model_name, manufacturer, network_type, operating_system, operating_system_version,
        screen_height, screen_width, Screen Resolution, system_language, us_browser,
        us_browser_version, us_os, us_device, us_device_category, usage_num""",
    "Path explorer": """event_id, user_pseudo_id, event_date, event_timestamp, platform, session_id,
        current_screen, event_rank, previous_event, next_event, previous_screen, next_screen""",
}


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, list[str]]]:
    """What the document says: by report and field, the columns as `model.column`."""
    text = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    found: dict[str, dict[str, list[str]]] = {}
    for part in text.split("\n## ")[1:]:
        rows = re.findall(r"^\| (.+?) \| (`.+`.*?) \|$", part, re.MULTILINE)
        found[part.splitlines()[0]] = {
            field: re.findall(r"`([a-z_0-9]+\.[a-z_0-9]+)`", columns) for field, columns in rows
        }
    return found


@pytest.mark.parametrize("report", FIELDS)
def test_every_field_of_the_report_has_a_column(
    told: dict[str, dict[str, list[str]]], report: str
) -> None:
    assert list(told[report]) == [" ".join(field.split()) for field in FIELDS[report].split(",")]
    assert all(told[report].values())


def test_the_columns_are_those_of_models(told: dict[str, dict[str, list[str]]]) -> None:
    columns = {
        f"{model['name']}.{column['name']}"
        for file in (dbt_project_dir() / "models").rglob("*.yml")
        for model in yaml.safe_load(file.read_text()).get("models", ())
        for column in model["columns"]
    }
    named = {column for fields in told.values() for found in fields.values() for column in found}
    assert named - columns == set()


def test_every_report_model_is_in_a_report() -> None:
    models = dbt_project_dir() / "models"
    exposures = yaml.safe_load((models / "exposures.yml").read_text())["exposures"]
    read = {ref for exposure in exposures for ref in exposure["depends_on"]}
    reports = {file.stem for file in (models / "reports").rglob("*.sql")}
    made_for_others = {"clickstream_days", "clickstream_retention_daily"}
    assert {f"ref('{name}')" for name in reports - made_for_others} - read == set()
