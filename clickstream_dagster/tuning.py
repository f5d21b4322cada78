"""What a process tells the interpreter and the system of how it wants to run."""

import atexit
import gc
import os
import sys
import threading

_NEW_OBJECTS = 200_000


def collect_rarely() -> None:
    """Let this process look for cycles of garbage after many new objects only, not when it ends.

    Most of what a command makes is what it loads, and that stays: to look through it again and
    again took a fifth of the start of `clickstream process`, and a third of a second of its end.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(_leave_garbage)


def _leave_garbage() -> None:
    # duckdb complains at the end of whatever has not been taken apart.
    if "duckdb" not in sys.modules:
        gc.freeze()


def give_way(by: int) -> None:
    """Let this thread give way to those of others, by so many steps of niceness (nice(2)).

    More than it has: only root may take less. Where a thread has no priority of its own, which is
    everywhere but on Linux, nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + by)
