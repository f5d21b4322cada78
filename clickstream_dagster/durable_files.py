"""Files and names that are still there after a loss of power (POSIX fsync(2))."""

import os


def sync_file(path: str | os.PathLike[str]) -> None:
    """Force the content of a file to the disk. Raises OSError."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Force the names in a folder to the disk: new ones, changed ones and removals.

    Raises OSError.
    """
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def make_folders(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it that are missing, each one durable. Raises OSError."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(os.path.abspath(folder))
    make_folders(above)
    os.makedirs(folder, exist_ok=True)
    sync_folder(above)


def _sync(path: str | os.PathLike[str], flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
