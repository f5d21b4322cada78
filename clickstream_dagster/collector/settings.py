"""What a collector is told: one value that goes to every worker process."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from clickstream_dagster.batches.objects import S3_SCHEME
from clickstream_dagster.collector.addresses import PRIVATE_NETWORKS, ClientAddresses
from clickstream_dagster.collector.log import Sync
from clickstream_dagster.collector.sinks.settings import SinkSettings
from clickstream_dagster.collector.tokens import OidcSettings
from clickstream_dagster.errors import SettingError

MB = 1 << 20

# Seed 000, "Data sink - S3".
MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES = 1 * MB, 50 * MB
MIN_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS = 60, 3_600
MAX_BODY_BYTES = 8 * MB

_PATH_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$#&@%-_/")
_RESERVED_PATHS = ("/health", "/ping")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSettings:
    """What holds for each collector of a project; sizes in bytes, times in seconds.

    Attributes:
        sink, sink_settings: where records go, as `sinks.sink_of` takes them.
        path: of the endpoint.
        needs_app: whether a request must name a registered app; not for third-party SDKs.
        body_bytes: most that a request body may have, as it is sent; more is answered 413.
        body_seconds: within which a body must have come; else 408.
        segment_bytes, segment_seconds: when a segment is sealed and shipped.
        dev: take `fakeIp` for the client's address (seed 000: the project's environment is Dev).

    Raises SettingError for a value out of its bounds.
    """

    sink: str
    sink_settings: SinkSettings
    path: str = "/collect"
    needs_app: bool = True
    trusted_proxies: tuple[str, ...] = PRIVATE_NETWORKS
    oidc: OidcSettings | None = None
    body_bytes: int = MB
    body_seconds: float = 30
    segment_bytes: int = 30 * MB
    segment_seconds: float = 300
    sync: Sync = Sync.ALWAYS
    dev: bool = False

    def __post_init__(self) -> None:
        require_path(self.path)
        ClientAddresses(self.trusted_proxies)
        # The seed's least age is of S3: a directory and streams are cheap to write to more often.
        fastest = MIN_SEGMENT_SECONDS if self.sink.startswith(S3_SCHEME) else 1
        least, most = MIN_SEGMENT_BYTES / MB, MAX_SEGMENT_BYTES / MB
        _check("segment size", self.segment_bytes / MB, least, most, "MiB")
        _check("segment age", self.segment_seconds, fastest, MAX_SEGMENT_SECONDS, "seconds")
        _check("body limit", self.body_bytes / 1024, 1, MAX_BODY_BYTES / 1024, "KiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings(ProjectSettings):
    """Settings of one collector: those of its project, and what its machine has.

    Attributes:
        spool: directory of the write-ahead log and of what the workers share.
        reading_bytes: most that bodies on their way may have together, in one worker.
        connections: most open connections, in one worker.
        min_free_bytes: free space on the spool's disk below which requests are answered 503.
        drain_seconds: how long a stopping worker may ship what is left.
    """

    spool: Path
    reading_bytes: int = 256 * MB
    connections: int = 65_536
    min_free_bytes: int = 256 * MB
    drain_seconds: float = 20

    @classmethod
    def of(cls, project: ProjectSettings, **machine: Any) -> "CollectorSettings":
        """Give the settings of a project's collector on a machine."""
        shared = {one.name: getattr(project, one.name) for one in fields(project)}
        return cls(**shared, **machine)


def require_path(path: str) -> None:
    """Raise SettingError unless an endpoint may have this path (seed 000, "Request path")."""
    if not path.startswith("/") or not set(path) <= _PATH_LETTERS or path in _RESERVED_PATHS:
        raise SettingError(
            f"path {path!r}: write / and letters, digits or $ # & @ % - _ /, "
            f"and not {' or '.join(_RESERVED_PATHS)}"
        )


def _check(name: str, value: float, least: float, most: float, unit: str) -> None:
    if not least <= value <= most:
        raise SettingError(f"{name} {value:g}: write {least:,g} to {most:,g} {unit}")
