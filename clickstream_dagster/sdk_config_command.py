"""`clickstream sdk-config`: what an SDK is told, so that it sends to a project's collector."""

import json
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import typer

from clickstream_dagster.errors import SettingError
from clickstream_dagster.plain_errors import plain_errors

_FLUSH_MS = 10_000


class Platform(StrEnum):
    """The SDKs there are."""

    WEB = "web"
    ANDROID = "android"
    IOS = "ios"


def sdk_config(
    project: Annotated[str, typer.Argument(help="Project of this deployment.")],
    app_id: Annotated[str, typer.Argument(metavar="APP", help="One of the project's apps.")],
    platform: Annotated[Platform, typer.Option(help="SDK that the app uses.")],
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Address of the collector, e.g. https://events.example.com/collect. Default: the"
            " endpoint in the project's YAML."
        ),
    ] = None,
) -> None:
    """Print how an app's SDK finds the collector.

    For android and ios this is the file amplifyconfiguration.json, for web the code that starts
    the SDK.
    """
    from clickstream_dagster.projects import deployed_project

    with plain_errors():
        found = deployed_project(project)
        address = endpoint if endpoint is not None else found.endpoint()
        if address is None:
            raise SettingError(
                f"project {project!r} has no endpoint: write one into its YAML, below collector, or"
                " give --endpoint https://events.example.com/collect"
            )
        address = checked_endpoint(address)
        apps = found.app_ids
        if app_id not in apps:
            raise SettingError(
                f"project {project!r} has no app {app_id!r} ({', '.join(apps)}): name one of these,"
                " or add it to app_ids in the project's YAML"
            )
        typer.echo(config_of(platform, app_id, address))


def config_of(platform: Platform, app_id: str, endpoint: str) -> str:
    """Give the configuration of an SDK (seed 000, "Integrate the SDK")."""
    if platform is Platform.WEB:
        return (
            "import { ClickstreamAnalytics } from '@aws/clickstream-web';\n\n"
            "ClickstreamAnalytics.init({\n"
            f"  appId: {json.dumps(app_id)},\n"
            f"  endpoint: {json.dumps(endpoint)},\n"
            "});"
        )
    plugin = {
        "appId": app_id,
        "endpoint": endpoint,
        "isCompressEvents": True,
        "autoFlushEventsInterval": _FLUSH_MS,
        "isTrackAppExceptionEvents": False,
    }
    # The seed prints the plug-in's name for Swift with a space behind it, under which that SDK does
    # not find it. Android's core library reads its own name and version from the file as well.
    head = (
        {"UserAgent": "aws-solution/clickstream", "Version": "1.0"}
        if platform is Platform.ANDROID
        else {}
    )
    return json.dumps(
        {**head, "analytics": {"plugins": {"awsClickstreamPlugin": plugin}}}, indent=2
    )


def checked_endpoint(endpoint: str) -> str:
    """Give an endpoint that an SDK can post to as it is. Raises SettingError for any other."""
    try:
        url = urlsplit(endpoint)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or any(letter <= " " or letter > "~" for letter in endpoint):
        raise SettingError(
            f"endpoint {endpoint!r} is no http(s) address; write one such as"
            " https://events.example.com/collect"
        )
    if url.query or url.fragment or url.username is not None:
        raise SettingError(
            f"endpoint {endpoint!r}: write scheme, host and path alone, the SDK adds the query"
        )
    if url.path in ("", "/"):
        raise SettingError(
            f"endpoint {endpoint!r} has no path, and SDKs add none: write the collector's --path"
            f" too, e.g. {endpoint.rstrip('/')}/collect"
        )
    return endpoint
