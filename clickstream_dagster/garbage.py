"""When the interpreter looks for garbage that holds itself: cycles of objects nobody needs."""

import atexit
import gc
import sys

_NEW_OBJECTS = 200_000


def collect_rarely() -> None:
    """Let this process look for cycles after many new objects only, and not when it ends.

    Most of what a command makes is what it loads, and that stays: to look through it again and
    again took a fifth of the start of `clickstream process`, and a third of a second of its end.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(_leave_garbage)


def _leave_garbage() -> None:
    # duckdb complains at the end of whatever has not been taken apart.
    if "duckdb" not in sys.modules:
        gc.freeze()
