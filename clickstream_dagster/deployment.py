"""Where the embedded deployment lives: its directory and its Dagster home."""

import os
import shutil
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """Give the repository that the package is used from, None when it is installed."""
    folder = _PACKAGE.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def root() -> Path:
    """Give the directory that relative paths of the projects are taken from.

    CLICKSTREAM_ROOT if it is set, else the repository; when the package is installed, the
    directory that the process is started in.
    """
    chosen = os.environ.get("CLICKSTREAM_ROOT")
    return Path(chosen).absolute() if chosen else checkout() or Path.cwd()


def dagster_home() -> Path:
    """Give the Dagster home and make it on first use; the environment's DAGSTER_HOME comes first.

    Sets DAGSTER_HOME for this process and those it starts.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or root() / ".dagster_home").absolute()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        candidates = (_PACKAGE.parent / "dagster.yaml", _PACKAGE / "_dagster.yaml")
        shutil.copyfile(next(path for path in candidates if path.is_file()), settings)
    os.environ["DAGSTER_HOME"] = str(home)
    return home
