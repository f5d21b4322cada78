"""The dbt manifest of a project: made when it is missing or the models have changed.

Loading the definitions only reads it; with a manifest in place nothing is parsed and no process is
started.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from clickstream_dagster.errors import ClickstreamError
from clickstream_dagster.resources.dbt import Models, dbt_project_dir, dbt_vars

MANIFEST = "manifest.json"
PARTIAL_PARSE = "partial_parse.msgpack"
TARGET = "duckdb"
RUNS_KEPT = 10
_STAMP = "manifest.sha256"
_NOT_PROJECT = {"target", "logs", "dbt_packages"}


class ManifestError(ClickstreamError):
    """The dbt project can't be parsed."""


def dbt_executable() -> str:
    """Give the dbt of this Python's environment, which need not be on the PATH."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else "dbt"


def prepared_manifest(warehouse: Models, state: Path, target: str = TARGET) -> Path:
    """Give the manifest in `state`; parse the dbt project first if what is there is not its own.

    Raises ManifestError when dbt can't parse the project.
    """
    digest = project_digest(dbt_project_dir(), warehouse)
    stamp = state / _STAMP
    if not (state / MANIFEST).is_file() or not stamp.is_file() or stamp.read_text() != digest:
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=state, prefix="parse-") as scratch:
            _parse(warehouse, Path(scratch), target)
            for name in (PARTIAL_PARSE, MANIFEST):
                os.replace(Path(scratch) / name, state / name)
        stamp.write_text(digest)
    return state / MANIFEST


def prepared_digest(state: Path) -> str:
    """Give the hash of what the manifest in `state` was made from."""
    return (state / _STAMP).read_text()


def project_digest(folder: Path, warehouse: Models) -> str:
    """Give a hash of everything that the manifest depends on.

    These are the files, the project id, its definitions and dbt's version.
    """
    from dbt.version import __version__

    told = [__version__, warehouse.project_id, str(folder), *dbt_vars(warehouse.definitions)]
    digest = hashlib.sha256("\n".join(told).encode())
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] in _NOT_PROJECT or relative.parts[0].startswith("."):
            continue
        if path.is_file():
            digest.update(f"{relative}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def run_directory(state: Path, run_id: str) -> Path:
    """Make the target directory of one dbt run, with the parse results that it starts from.

    Keeps the directories of the last runs, for their logs.
    """
    runs = state / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime)[: -RUNS_KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(dir=runs, prefix=f"{run_id[:8]}-"))
    shutil.copyfile(state / PARTIAL_PARSE, directory / PARTIAL_PARSE)
    return directory


def _parse(warehouse: Models, folder: Path, target: str) -> None:
    environment = {
        **os.environ,
        **warehouse.environment(),
        "DBT_TARGET_PATH": str(folder),
        "DBT_LOG_PATH": str(folder),
    }
    answer = subprocess.run(
        [
            dbt_executable(),
            "--quiet",
            "parse",
            "--target",
            target,
            *dbt_vars(warehouse.definitions),
        ],
        cwd=dbt_project_dir(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise ManifestError(
            f"dbt can't parse {dbt_project_dir()}: {(answer.stdout + answer.stderr).strip()}"
        )
