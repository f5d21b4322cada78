"""`clickstream collector`: its options, and where who may send is read from."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickstream_dagster.errors import SettingError
from clickstream_dagster.plain_errors import plain_errors
from clickstream_dagster.s3_options import Endpoint, KmsKey, Profile, Region

if TYPE_CHECKING:
    from clickstream_dagster.collector.access import Access


def collector(
    project_id: Annotated[str, typer.Option(help="Project that the events are for.")],
    spool: Annotated[
        Path, typer.Option(help="Directory of the write-ahead log, on a disk that stays.")
    ],
    sink: Annotated[
        str,
        typer.Option(
            help="Where records go: a directory, s3://bucket/prefix, kinesis://stream or"
            " kafka://host:port/topic."
        ),
    ],
    sink_settings: Annotated[
        Path | None,
        typer.Option(help="YAML file with the settings `kinesis:` or `kafka:` of the sink."),
    ] = None,
    app_id: Annotated[
        list[str] | None,
        typer.Option(
            help="App that may send; repeat for more. Default: the apps of the project's YAML here,"
            " as it changes."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of pages that may send: https://www.example.com, https://*.example.com or"
            " *; repeat for more. Default: those of the project's YAML, or none."
        ),
    ] = None,
    write_keys: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with a write key for each app that needs one, `app: key`. It may change"
            " while the collector runs."
        ),
    ] = None,
    oidc_issuer: Annotated[
        str | None,
        typer.Option(help="Take bearer tokens of this OIDC provider only; with --oidc-audience."),
    ] = None,
    oidc_audience: Annotated[
        str | None, typer.Option(help="Client id that the tokens must be made for.")
    ] = None,
    any_app: Annotated[
        bool,
        typer.Option("--any-app", help="Take requests without an appId, for third-party SDKs."),
    ] = False,
    listen: Annotated[str, typer.Option(help="Address and port.")] = "127.0.0.1:8088",
    metrics: Annotated[
        str, typer.Option(help="Address and port of /metrics; 'off' for none.")
    ] = "127.0.0.1:9464",
    path: Annotated[str, typer.Option(help="Path of the endpoint.")] = "/collect",
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Worker processes. Default: one per core.")
    ] = None,
    sync: Annotated[
        str,
        typer.Option(
            help="When a request is on the disk: always (before it is answered), interval (within a"
            " second) or never (when the system likes)."
        ),
    ] = "always",
    segment_mb: Annotated[
        float, typer.Option(help="Size at which records are shipped, 1 to 50 MiB.")
    ] = 30,
    segment_seconds: Annotated[
        float,
        typer.Option(help="Age at which they are shipped, at most 3600 s; 60 at least on S3."),
    ] = 300,
    body_kb: Annotated[int, typer.Option(help="Most of a request's body, in KiB.")] = 1024,
    body_seconds: Annotated[float, typer.Option(help="Within which a body must have come.")] = 30,
    reading_mb: Annotated[
        int, typer.Option(help="Most that bodies on their way may have together, in a worker.")
    ] = 256,
    connections: Annotated[
        int, typer.Option(min=1, help="Most open connections of a worker.")
    ] = 65_536,
    min_free_mb: Annotated[
        int, typer.Option(help="Free space on the spool's disk below which 503 is answered.")
    ] = 256,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Network whose X-Forwarded-For is believed, e.g. 10.0.0.0/8; repeat for more."
            " Default: private networks."
        ),
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(help="How long records are still shipped when it is stopped.")
    ] = 20,
    dev: Annotated[
        bool, typer.Option("--dev", help="Take the parameter fakeIp for the client's address.")
    ] = False,
    log: Annotated[str, typer.Option(help="Lines of the log: json or text.")] = "json",
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    kms_key_id: KmsKey = None,
) -> None:
    """Take events over HTTP and give them to a sink; answer 200 only for what is on the disk.

    What a sink has not confirmed stays in the spool, over restarts too. SIGTERM drains.
    """
    from clickstream_dagster.batches.s3 import S3Access
    from clickstream_dagster.collector.addresses import PRIVATE_NETWORKS
    from clickstream_dagster.collector.command import host_and_port, one_of
    from clickstream_dagster.collector.log import Sync
    from clickstream_dagster.collector.server import LogFormat, default_workers, run_collector
    from clickstream_dagster.collector.settings import MB, CollectorSettings
    from clickstream_dagster.collector.sinks.settings import (
        SinkSettings,
        StreamSettings,
        read_stream_settings,
    )
    from clickstream_dagster.collector.tokens import OidcSettings

    with plain_errors():
        if (oidc_issuer is None) != (oidc_audience is None):
            raise SettingError("give --oidc-issuer together with --oidc-audience")
        streams = read_stream_settings(sink_settings) if sink_settings else StreamSettings()
        settings = CollectorSettings(
            spool=spool.absolute(),
            sink=sink,
            sink_settings=SinkSettings(
                project_id=project_id,
                s3=S3Access(region, profile, endpoint_url, kms_key_id),
                kinesis=streams.kinesis,
                kafka=streams.kafka,
            ),
            path=path,
            needs_app=not any_app,
            trusted_proxies=tuple(trusted_proxy or PRIVATE_NETWORKS),
            oidc=OidcSettings(oidc_issuer, oidc_audience) if oidc_issuer else None,
            body_bytes=body_kb << 10,
            body_seconds=body_seconds,
            reading_bytes=reading_mb * MB,
            connections=connections,
            segment_bytes=int(segment_mb * MB),
            segment_seconds=segment_seconds,
            min_free_bytes=min_free_mb * MB,
            sync=one_of(Sync, sync, "--sync"),
            drain_seconds=drain_seconds,
            dev=dev,
        )
        run_collector(
            settings,
            _access(project_id, app_id, origin, write_keys),
            listen=host_and_port(listen, "--listen"),
            metrics=None if metrics == "off" else host_and_port(metrics, "--metrics"),
            workers=workers or default_workers(),
            log_format=one_of(LogFormat, log, "--log"),
        )


def _access(
    project_id: str,
    app_ids: list[str] | None,
    origins: list[str] | None,
    write_keys: Path | None,
) -> "Callable[[], Access]":
    from clickstream_dagster.collector.access import Access, read_key_hashes

    if app_ids:

        def access() -> Access:
            return Access(tuple(app_ids), _key_hashes(), tuple(origins or ()))
    else:
        from clickstream_dagster.projects import following

        project = following(project_id)

        def access() -> Access:
            now = project()
            return Access(now.app_ids, _key_hashes(), tuple(origins or now.origins))

    def _key_hashes() -> dict[str, str]:
        return read_key_hashes(write_keys) if write_keys else {}

    return access
