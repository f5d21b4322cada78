"""The spool in the log: what an alarm reads where nobody asks for /metrics."""

import logging
import threading
from pathlib import Path
from typing import NoReturn

from clickstream_dagster.collector.spool import spool_state

_logger = logging.getLogger(__name__)


def report_spool(spool: Path, seconds: float) -> NoReturn:
    """Log what waits in a spool, at once and every so many seconds.

    The names are those of the metrics: `log_bytes`, `log_segments`, `oldest_segment_seconds` and
    `free_bytes`. infra/cloudformation/ingestion.yaml has filters on them and on the message.
    """
    while True:
        try:
            state = spool_state(spool)
            _logger.info(
                "state of the spool",
                extra={
                    "log_bytes": state.bytes,
                    "log_segments": state.segments,
                    "oldest_segment_seconds": round(state.oldest_seconds, 3),
                    "free_bytes": state.free_bytes,
                },
            )
        except OSError as error:
            _logger.error("the spool can't be looked at", extra={"error": str(error)})
        threading.Event().wait(seconds)
