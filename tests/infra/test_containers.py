"""Container files: linted, pinned, and for an ordinary user."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "infra").rglob("Containerfile"))
HADOLINT = Path(sys.executable).with_name("hadolint")

LEFT_OUT = {
    "DL3059": "layers of the stage that builds reach no image, and a step each is read more easily",
}
"""Rules of hadolint that are left out, and why."""

_FROM = re.compile(r"FROM (?P<image>\S+)(?: AS (?P<stage>\S+))?")
_PINNED = re.compile(r"[^:@\s]+:[^:@\s]+@sha256:[0-9a-f]{64}")


def hadolint(file: Path) -> list[str]:
    """Give hadolint's findings of every severity, a line each."""
    ignored = [part for rule in LEFT_OUT for part in ("--ignore", rule)]
    done = subprocess.run(
        [HADOLINT, "--format", "json", "--failure-threshold", "style", *ignored, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return [f"{one['code']} {one['line']}: {one['message']}" for one in json.loads(done.stdout)]


def words(file: Path, instruction: str) -> list[str]:
    """Give what stands behind each of an instruction, of the last stage."""
    stage = re.split(r"^FROM ", file.read_text(), flags=re.MULTILINE)[-1]
    return re.findall(rf"^{instruction} (.+)$", stage, re.MULTILINE)


def test_all_of_them_are_looked_at() -> None:
    assert {file.parent.name for file in FILES} >= {"collector", "orchestration"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    assert hadolint(file) == []


def test_hadolint_finds_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "Containerfile"
    file.write_text("FROM python:latest\nRUN cd /tmp && sudo ls\nUSER root\n")
    codes = {finding.split()[0] for finding in hadolint(file)}
    assert {"DL3002", "DL3003", "DL3004", "DL3007"} <= codes


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_bases_are_pinned_and_the_user_is_an_ordinary_one(file: Path) -> None:
    stages = [match.groupdict() for match in _FROM.finditer(file.read_text())]
    assert stages
    assert [one["image"] for one in stages if not _PINNED.fullmatch(one["image"])] == []
    (user,) = words(file, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_what_is_copied_is_there(file: Path) -> None:
    """Paths are of the repository's folder, from which an image is built."""
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", file.read_text(), re.MULTILINE)
        for source in line.split()[:-1]
        if not source.startswith("--")
    ]
    assert len(sources) > 3
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.heavy
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_package_is_built_of_what_is_copied(file: Path, tmp_path: Path) -> None:
    stage = re.split(r"^FROM ", file.read_text(), flags=re.MULTILINE)[1]
    for *sources, target in [
        line.split() for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE)
    ]:
        for source in sources:
            into = tmp_path / target.strip("/")
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
                shutil.copytree(ROOT / source, into, ignore=ignored)
            else:
                into.mkdir(exist_ok=True)
                shutil.copy(ROOT / source, into)
    for place in re.findall(r'^RUN \["rm", "-r", "([^"]+)"\]$', stage, re.MULTILINE):
        shutil.rmtree(tmp_path / place.strip("/"))
    command = [sys.executable, "-m", "uv", "build", "--wheel", "--quiet", "--out-dir", tmp_path]
    done = subprocess.run(
        [*command, tmp_path / "source"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "clickstream_dagster/_infra/cloudformation/orchestration.yaml" in names
    demo = [name for name in names if name.startswith("clickstream_dagster/defs/demo/")]
    assert bool(demo) == (file.parent.name == "collector")
