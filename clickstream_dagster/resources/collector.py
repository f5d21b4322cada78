"""A project's collector: what the project says about it, and what a running one tells over HTTP."""

import urllib.request
from dataclasses import dataclass
from pathlib import Path

from clickstream_dagster.collector.settings import ProjectSettings
from clickstream_dagster.errors import ClickstreamError

OLDEST_SEGMENT = "clickstream_collector_oldest_segment_seconds"
_SEGMENTS = "clickstream_collector_log_segments"
_SECONDS = 10
_MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ProjectCollector:
    """What a project says about its collectors.

    Attributes:
        settings: with which each of them is started.
        origins: of pages that may send.
        write_keys: file with the apps' write keys.
        endpoint: address that SDKs send to.
        metrics: addresses of the collectors' metrics.
        max_wait_seconds: how long a segment may wait for the sink.
    """

    settings: ProjectSettings
    origins: tuple[str, ...] = ()
    write_keys: Path | None = None
    endpoint: str | None = None
    metrics: tuple[str, ...] = ()
    max_wait_seconds: int = 900


class CollectorError(ClickstreamError):
    """A collector that can't be asked, or does not get rid of its log."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a collector's log for the sink: segments, and seconds the oldest waits."""

    segments: int
    oldest_seconds: float


def waiting_at(address: str) -> Waiting:
    """Ask a collector what waits. Raises CollectorError when it does not tell."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
            text = answer.read(_MAX_BYTES).decode()
        found = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return Waiting(int(found[_SEGMENTS]), found[OLDEST_SEGMENT])
    except (OSError, ValueError) as error:
        raise CollectorError(
            f"{address} does not answer: {error}; is the collector up, and may this machine ask it?"
        ) from error
    except KeyError as error:
        raise CollectorError(
            f"{address} tells no {error}: is it the /metrics of a collector?"
        ) from error
