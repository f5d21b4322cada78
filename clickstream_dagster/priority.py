"""How much of the processor a thread asks for beside others."""

import os
import sys
import threading


def give_way(by: int) -> None:
    """Let this thread give way to those of others, by so many steps of niceness (nice(2)).

    More than it has: only root may take less. Where a thread has no priority of its own, which is
    everywhere but on Linux, nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + by)
