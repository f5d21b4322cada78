"""`clickstream collector`: what it is told by the project's YAML, or by options without one."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from click.core import ParameterSource

from clickstream_dagster.errors import SettingError
from clickstream_dagster.plain_errors import plain_errors

if TYPE_CHECKING:
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.collector.access import Access
    from clickstream_dagster.collector.settings import ProjectSettings
    from clickstream_dagster.collector.sinks.settings import SinkSettings
    from clickstream_dagster.collector.tokens import OidcSettings
    from clickstream_dagster.collector.worker import TlsFiles

_logger = logging.getLogger(__name__)

_WRITE_KEYS_VARIABLE = "CLICKSTREAM_WRITE_KEYS"
_WITHOUT_YAML = "Without the project's YAML, with --sink only"


def _without_yaml(*names: str, **details: Any) -> Any:
    """Give an option that says what the project's YAML says, where there is one."""
    return typer.Option(*names, rich_help_panel=_WITHOUT_YAML, **details)


def collector(
    context: typer.Context,
    project_id: Annotated[str, typer.Option(help="Project that the events are for.")],
    spool: Annotated[
        Path, typer.Option(help="Directory of the write-ahead log, on a disk that stays.")
    ],
    listen: Annotated[str, typer.Option(help="Address and port.")] = "127.0.0.1:8088",
    metrics: Annotated[
        str, typer.Option(help="Address and port of /metrics; 'off' for none.")
    ] = "127.0.0.1:9464",
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            help="Speak HTTPS with this certificate (PEM, those up to its issuer behind it); with"
            " --tls-key. SIGHUP takes a renewed one."
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Key of the certificate (PEM), without a password.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Worker processes. Default: one per core.")
    ] = None,
    reading_mb: Annotated[
        int, typer.Option(help="Most that bodies on their way may have together, in a worker.")
    ] = 256,
    connections: Annotated[
        int, typer.Option(min=1, help="Most open connections of a worker.")
    ] = 65_536,
    min_free_mb: Annotated[
        int, typer.Option(help="Free space on the spool's disk below which 503 is answered.")
    ] = 256,
    drain_seconds: Annotated[
        float, typer.Option(help="How long records are still shipped when it is stopped.")
    ] = 20,
    log: Annotated[str, typer.Option(help="Lines of the log: json or text.")] = "json",
    report_seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Log every so often what is in the spool, for alarms that read the log. Default:"
            " never.",
        ),
    ] = None,
    end_with_stdin: Annotated[
        bool,
        typer.Option(
            "--end-with-stdin",
            help="End as by SIGTERM when standard input is closed: a pipe whose other end the"
            " starting process holds is closed by its death, too.",
        ),
    ] = False,
    sink: Annotated[
        str | None,
        _without_yaml(
            help="Where records go: a directory, s3://bucket/prefix, kinesis://stream or"
            " kafka://host:port/topic. Default: the sink of the project's YAML."
        ),
    ] = None,
    sink_settings: Annotated[
        str | None,
        _without_yaml(
            help="YAML file with the settings `kinesis:` or `kafka:` of the sink, or the settings"
            " themselves, in braces."
        ),
    ] = None,
    app_id: Annotated[
        list[str] | None,
        _without_yaml(help="App that may send; repeat for more."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        _without_yaml(
            help="Origin of pages that may send: https://www.example.com, https://*.example.com or"
            " *; repeat for more. Default: none."
        ),
    ] = None,
    write_keys: Annotated[
        Path | None,
        _without_yaml(
            help="YAML file with a write key for each app that needs one, `app: key`. It may change"
            " while the collector runs. Default: what the environment variable"
            f" {_WRITE_KEYS_VARIABLE} has of them."
        ),
    ] = None,
    oidc_issuer: Annotated[
        str | None,
        _without_yaml(help="Take bearer tokens of this OIDC provider only; with --oidc-audience."),
    ] = None,
    oidc_audience: Annotated[
        str | None, _without_yaml(help="Client id that the tokens must be made for.")
    ] = None,
    any_app: Annotated[
        bool,
        _without_yaml("--any-app", help="Take requests without an appId, for third-party SDKs."),
    ] = False,
    path: Annotated[str, _without_yaml(help="Path of the endpoint.")] = "/collect",
    sync: Annotated[
        str,
        _without_yaml(
            help="When a request is on the disk: always (before it is answered), interval (within a"
            " second) or never (when the system likes)."
        ),
    ] = "always",
    segment_mb: Annotated[
        float, _without_yaml(help="Size at which records are shipped, 1 to 50 MiB.")
    ] = 30,
    segment_seconds: Annotated[
        float,
        _without_yaml(help="Age at which they are shipped, at most 3600 s; 60 at least on S3."),
    ] = 300,
    body_kb: Annotated[int, _without_yaml(help="Most of a request's body, in KiB.")] = 1024,
    body_seconds: Annotated[float, _without_yaml(help="Within which a body must have come.")] = 30,
    trusted_proxy: Annotated[
        list[str] | None,
        _without_yaml(
            help="Network whose X-Forwarded-For is believed, e.g. 10.0.0.0/8; repeat for more."
            " Default: private networks."
        ),
    ] = None,
    dev: Annotated[
        bool, _without_yaml("--dev", help="Take the parameter fakeIp for the client's address.")
    ] = False,
    region: Annotated[
        str | None, _without_yaml(help="AWS region of the sink. Default: as boto3 finds it.")
    ] = None,
    profile: Annotated[
        str | None,
        _without_yaml(help="Profile of the AWS configuration files. Default: as boto3 finds it."),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        _without_yaml(help="Address of an S3-compatible server. Default: as boto3 finds it."),
    ] = None,
    kms_key_id: Annotated[
        str | None,
        _without_yaml(help="Id, alias or ARN of the KMS key that encrypts what is written to S3."),
    ] = None,
) -> None:
    """Take events over HTTP and give them to a sink; answer 200 only for what is on the disk.

    Who may send, the sink, the path and the limits are those of the project's YAML in this
    deployment. Where it is not at hand, as in a container, --sink and the options below say it.
    What a sink has not confirmed stays in the spool, over restarts too. SIGTERM drains.
    """
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.collector.command import host_and_port, one_of
    from clickstream_dagster.collector.server import LogFormat, default_workers, run_collector
    from clickstream_dagster.collector.settings import MB, CollectorSettings

    with plain_errors():
        if sink is None:
            _refuse_options_beside_yaml(context)
            shared, access = _told_by_yaml(project_id)
        else:
            from clickstream_dagster.collector.addresses import PRIVATE_NETWORKS
            from clickstream_dagster.collector.log import Sync
            from clickstream_dagster.collector.settings import ProjectSettings

            shared = ProjectSettings(
                sink=sink,
                sink_settings=_sink_settings(
                    project_id,
                    S3Access(region, profile, endpoint_url, kms_key_id),
                    sink_settings,
                ),
                path=path,
                needs_app=not any_app,
                trusted_proxies=tuple(trusted_proxy or PRIVATE_NETWORKS),
                oidc=_oidc(oidc_issuer, oidc_audience),
                body_bytes=body_kb << 10,
                body_seconds=body_seconds,
                segment_bytes=int(segment_mb * MB),
                segment_seconds=segment_seconds,
                sync=one_of(Sync, sync, "--sync"),
                dev=dev,
            )
            access = _told_by_options(app_id or [], any_app, origin or [], write_keys)
        run_collector(
            CollectorSettings.of(
                shared,
                spool=spool.absolute(),
                reading_bytes=reading_mb * MB,
                connections=connections,
                min_free_bytes=min_free_mb * MB,
                drain_seconds=drain_seconds,
            ),
            access,
            listen=host_and_port(listen, "--listen"),
            metrics=None if metrics == "off" else host_and_port(metrics, "--metrics"),
            workers=workers or default_workers(),
            log_format=one_of(LogFormat, log, "--log"),
            report_seconds=report_seconds,
            tls=_tls(tls_cert, tls_key),
            ends_with_stdin=end_with_stdin,
        )


def _refuse_options_beside_yaml(context: typer.Context) -> None:
    given = [
        option.opts[0]
        for option in context.command.params
        if getattr(option, "rich_help_panel", None) == _WITHOUT_YAML
        and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise SettingError(
            f"{', '.join(given)}: the project's YAML says this, below collector; write it there, or"
            " give --sink and --app-id, too, and no YAML is read"
        )


def _told_by_yaml(project_id: str) -> "tuple[ProjectSettings, Callable[[], Access]]":
    """Give the settings of the project's YAML as it is now, and who may send, as it changes."""
    from clickstream_dagster.collector.access import Access
    from clickstream_dagster.projects import following

    project = following(project_id)
    started = told = project().collector.settings

    def access() -> Access:
        nonlocal told
        now = project()
        if now.collector.settings != told:
            told = now.collector.settings
            if told != started:
                _logger.warning(
                    "the YAML says more than apps, origins and write keys anew: start the collector"
                    " again for that"
                )
        return Access(now.app_ids, _key_hashes(now.collector.write_keys), now.collector.origins)

    return started, access


def _told_by_options(
    app_ids: list[str], any_app: bool, origins: list[str], write_keys: Path | None
) -> "Callable[[], Access]":
    from clickstream_dagster.collector.access import Access

    if not app_ids and not any_app:
        raise SettingError(
            "--sink without --app-id: name the apps that may send, or leave --sink out, and the"
            " project's YAML says all"
        )

    def access() -> Access:
        hashes = _key_hashes(write_keys) if write_keys else _key_hashes_of_environment()
        return Access(tuple(app_ids), hashes, tuple(origins))

    return access


def _key_hashes(file: Path | None) -> dict[str, str]:
    from clickstream_dagster.collector.access import read_key_hashes

    return read_key_hashes(file) if file else {}


def _key_hashes_of_environment() -> dict[str, str]:
    from clickstream_dagster.collector.access import key_hashes

    return key_hashes(os.environ.get(_WRITE_KEYS_VARIABLE, ""), _WRITE_KEYS_VARIABLE)


def _sink_settings(project_id: str, s3: "S3Access", told: str | None) -> "SinkSettings":
    """Give the settings of a sink; `told` is a file, or YAML in braces."""
    from clickstream_dagster.collector.sinks.settings import (
        SinkSettings,
        StreamSettings,
        read_stream_settings,
        stream_settings,
    )

    if told is None:
        streams = StreamSettings()
    elif told.startswith("{"):
        streams = stream_settings(told, "of --sink-settings")
    else:
        streams = read_stream_settings(Path(told))
    return SinkSettings(project_id=project_id, s3=s3, kinesis=streams.kinesis, kafka=streams.kafka)


def _tls(certificate: Path | None, key: Path | None) -> "TlsFiles | None":
    from clickstream_dagster.collector.worker import TlsFiles

    if (certificate is None) != (key is None):
        raise SettingError("give --tls-cert together with --tls-key")
    return TlsFiles(certificate, key) if certificate and key else None


def _oidc(issuer: str | None, audience: str | None) -> "OidcSettings | None":
    from clickstream_dagster.collector.tokens import OidcSettings

    if (issuer is None) != (audience is None):
        raise SettingError("give --oidc-issuer together with --oidc-audience")
    return None if issuer is None else OidcSettings(issuer, audience or "")
