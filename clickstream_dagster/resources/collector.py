"""What a running collector tells: its metrics, read over HTTP."""

import urllib.request
from dataclasses import dataclass

from clickstream_dagster.errors import ClickstreamError

OLDEST_SEGMENT = "clickstream_collector_oldest_segment_seconds"
_SEGMENTS = "clickstream_collector_log_segments"
_SECONDS = 10
_MAX_BYTES = 8 << 20


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
