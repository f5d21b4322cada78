"""`clickstream sdk-config` prints what an app's SDK needs, and only for apps that may send."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clickstream_dagster import projects
from clickstream_dagster.cli import app
from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.components.collector import Collector

ENDPOINT = "https://events.example.com/collect"


def sdk_config(
    project: str = "demo",
    app_id: str = "demo_mobile",
    platform: str = "android",
    endpoint: str | None = ENDPOINT,
) -> Result:
    command = ["sdk-config", project, app_id, "--platform", platform]
    if endpoint is not None:
        command += ["--endpoint", endpoint]
    return CliRunner().invoke(app, command)


@pytest.mark.parametrize(
    ("platform", "head"),
    [
        ("android", {"UserAgent": "aws-solution/clickstream", "Version": "1.0"}),
        ("ios", {}),
    ],
)
def test_prints_the_file_of_the_mobile_sdks(platform: str, head: dict[str, str]) -> None:
    result = sdk_config(platform=platform)

    assert json.loads(result.stdout) == {
        **head,
        "analytics": {
            "plugins": {
                "awsClickstreamPlugin": {
                    "appId": "demo_mobile",
                    "endpoint": ENDPOINT,
                    "isCompressEvents": True,
                    "autoFlushEventsInterval": 10000,
                    "isTrackAppExceptionEvents": False,
                }
            }
        },
    }


def test_takes_the_endpoint_of_the_projects_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = ClickstreamProject(
        project_id="shop",
        app_ids=["shop_ios"],
        start_date="2026-11-01",
        collector=Collector(endpoint=ENDPOINT),
    ).project(Path("/srv"))
    monkeypatch.setattr(projects, "deployed_project", lambda project_id: shop)

    result = sdk_config("shop", "shop_ios", "ios", endpoint=None)

    plugins = json.loads(result.stdout)["analytics"]["plugins"]
    assert plugins["awsClickstreamPlugin"]["endpoint"] == ENDPOINT


def test_prints_the_start_of_the_web_sdk() -> None:
    result = sdk_config(app_id="demo_web", platform="web")

    assert result.stdout == (
        "import { ClickstreamAnalytics } from '@aws/clickstream-web';\n\n"
        "ClickstreamAnalytics.init({\n"
        '  appId: "demo_web",\n'
        f'  endpoint: "{ENDPOINT}",\n'
        "});\n"
    )


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("no project 'shop' is deployed here (demo); name one of these", {"project": "shop"}),
        (
            "project 'demo' has no app 'other' (demo_web, demo_mobile): name one of these, or add"
            " it to app_ids in the project's YAML",
            {"app_id": "other"},
        ),
        ("project 'demo' has no endpoint: write one into its YAML", {"endpoint": None}),
        ("write one such as https://events.example.com/collect", {"endpoint": "events.example"}),
        ("write one such as https://events.example.com/collect", {"endpoint": "https://a:b/c"}),
        ("write one such as https://events.example.com/collect", {"endpoint": "http://a b/c"}),
        ("e.g. https://a.example/collect", {"endpoint": "https://a.example/"}),
        ("the SDK adds the query", {"endpoint": f"{ENDPOINT}?appId=a"}),
        ("the SDK adds the query", {"endpoint": "https://me:secret@a.example/collect"}),
    ],
)
def test_says_what_to_write_instead(told: str, wrong: dict[str, str]) -> None:
    result = sdk_config(**wrong)

    assert result.exit_code == 1
    assert told in result.stderr
    assert result.stdout == ""
