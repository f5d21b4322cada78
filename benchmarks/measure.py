"""Run a command and tell how long it took and how much memory its processes held at most."""

import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.2
_RESIDENT = re.compile(r"^Rss(Anon|File|Shmem):\s+(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Measured:
    """Wall seconds, processor seconds, peak memory of the process tree in bytes, output.

    Pages of files are those of the process that has mapped most of them.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str]) -> Measured:
    """Run a command. Raises RuntimeError with its error output when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, text=True)
        peak = _quick_tree_bytes(process.pid)
        while not _has_ended(process):
            peak = max(peak, _quick_tree_bytes(process.pid))
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()}")
        told = output.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(seconds, cpu_seconds, peak, told)


def _has_ended(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def tree_bytes(pid: int) -> int:
    """Give the memory of a process and those below it, shared pages in shares."""
    return sum(_proportional_bytes(member) for member in _tree(pid))


def _quick_tree_bytes(pid: int) -> int:
    """Give the memory of a process and those below it, without a walk through their pages.

    Such a walk takes 15 ms a gigabyte, in which the process can't grow. So it is not known which
    pages of files they share, mostly those of libraries.
    """
    found = [_resident_bytes(member) for member in _tree(pid)]
    return sum(own for own, _ in found) + max((files for _, files in found), default=0)


def _resident_bytes(pid: int) -> tuple[int, int]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    kib = {name: int(value.split()[0]) for name, value in _RESIDENT.findall(text)}
    return (kib.get("Anon", 0) + kib.get("Shmem", 0)) * 1024, kib.get("File", 0) * 1024


def _tree(pid: int) -> list[int]:
    members = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text()
            for child in children.split():
                members += _tree(int(child))
    except OSError:  # ended meanwhile
        pass
    return members


def _proportional_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    kib = next((line.split()[1] for line in text.splitlines() if line.startswith("Pss:")), "0")
    return int(kib) * 1024
