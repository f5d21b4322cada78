"""Builds the archive that job runs are unpacked from: an interpreter and what processing needs.

EMR's own Python is older than this project needs, so that the archive brings one along, which must
run wherever it is unpacked. Wheels are chosen for the system of EMR, whatever this machine is. The
same inputs make the same bytes: names are sorted, and nothing of the time or this machine is kept.
Spark comes with EMR and is left out, as is everything that only Dagster and the models need.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import (
    Distribution,
    distribution,
    distributions,
    entry_points,
    packages_distributions,
)
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clickstream_dagster.errors import EngineError
from clickstream_dagster.processing.plugins import (
    ENRICHMENTS,
    TRANSFORMERS,
    PluginChoice,
)

OWN = "clickstream-dagster"

NEEDED = (
    *("boto3", "click", "dagster-pipes", "fsspec", "isal", "llvmlite", "maxminddb", "numba"),
    *("numpy", "orjson", "pandas", "pyarrow", "pybase64", "pydantic", "pyiceberg", "pyyaml"),
    *("rich", "ua-parser"),
)
"""Requirements of this project that processing, or one of these, needs; others are left out."""

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Architectures of EMR Serverless applications, and what they are called elsewhere."""

DEFAULT_PYTHON = "3.11"
"""Runs with Spark 3.5, which does not know 3.12, and with Spark 4."""

EMR_GLIBC = "2.34"
"""Of Amazon Linux 2023, which EMR 7 and later run on."""

PROJECT_FOLDER = "project"
"""Where the files of a project lie in the archive."""

# Parts of an interpreter that no job needs.
_UNUSED = {
    *("__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tkinter"),
    "turtledemo",
}
# What installers leave behind about this machine, and what libraries bring for their developers.
_LEFT_BEHIND = ("direct_url.json", "uv_cache.json", "INSTALLER", "REQUESTED", "RECORD")
_FOR_DEVELOPERS = ("tests", "include")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into an archive.

    `plugins` are the plug-ins that the project chooses, `files` the paths that they read, by their
    place below the project's folder. `python` is an interpreter's executable or directory; without
    it one that uv manages is taken, in `python_version`.
    """

    plugins: Sequence[PluginChoice] = ()
    files: dict[str, Path] = field(default_factory=dict)
    architecture: str = "x86_64"
    python: Path | None = None
    python_version: str = DEFAULT_PYTHON
    glibc: str = EMR_GLIBC


def build_archive(contents: Contents, out: Path, tell: Tell) -> str:
    """Write the archive; give the version of its interpreter. Raises EngineError."""
    with tempfile.TemporaryDirectory(prefix="clickstream-package-") as directory:
        work = Path(directory)
        interpreter = _interpreter(contents, work, tell)
        root = work / "environment"
        site_packages = interpreter.copy_to(root)
        tell(f"installing for {contents.architecture}, Python {interpreter.version}")
        _install(contents, interpreter.version, site_packages, work)
        for place, path in contents.files.items():
            _copy(path, root / PROJECT_FOLDER / place)
        tell("packing")
        _write_archive(root, out)
    return interpreter.version


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """An interpreter that works wherever its directory lies."""

    root: Path
    version: str

    @classmethod
    def at(cls, place: Path) -> "_Interpreter":
        """Find the interpreter of an executable, or of a directory with `bin/` and `lib/`."""
        real = place.resolve()
        root = real if real.is_dir() else real.parent.parent
        versions = sorted(
            match[1]
            for path in (root / "bin").glob("python3.*")
            if (match := re.fullmatch(r"python(3\.\d+)", path.name))
            and (root / "lib" / path.name / "os.py").exists()
        )
        if not versions:
            raise EngineError(
                f"--python {place} is no interpreter with its library beside it: name the "
                "directory of a standalone build, which has bin/python3.X and lib/python3.X"
            )
        return cls(root, versions[-1])

    def check(self, glibc: str) -> None:
        """Raise EngineError unless it works elsewhere, on a system with this glibc."""
        executable = self.root / "bin" / f"python{self.version}"
        code = executable.read_bytes()
        if f"{self.root}/lib".encode() in code and b"libpython" in code:
            raise EngineError(
                f"the interpreter {executable} looks for its library in {self.root} only: name a "
                "standalone build with --python (uv python install makes one)"
            )
        files = [executable, *self.root.glob("lib/libpython*"), *self.root.rglob("lib-dynload/*")]
        needed = max((_glibc_of(path.read_bytes()) for path in files), default=(0, 0))
        if needed > _numbers(glibc):
            raise EngineError(
                f"the interpreter {executable} needs glibc {needed[0]}.{needed[1]}, EMR has "
                f"{glibc}: name a standalone build with --python, or the glibc of your own image "
                "with --glibc"
            )

    def copy_to(self, target: Path) -> Path:
        """Copy what a job needs of it; give the folder for its libraries."""
        name = f"python{self.version}"
        (target / "bin").mkdir(parents=True)
        shutil.copyfile(self.root / "bin" / name, target / "bin" / name)
        (target / "bin" / name).chmod(0o755)
        for alias in ("python", "python3"):
            (target / "bin" / alias).symlink_to(name)
        library = target / "lib" / name
        shutil.copytree(
            self.root / "lib" / name,
            library,
            ignore=lambda _, names: [
                one for one in names if one in _UNUSED or one.startswith("config-")
            ],
        )
        for shared in (self.root / "lib").glob(f"libpython{self.version}.so*"):
            shutil.copyfile(shared, target / "lib" / shared.name)
        (library / "site-packages").mkdir()
        return library / "site-packages"


def _interpreter(contents: Contents, work: Path, tell: Tell) -> _Interpreter:
    if contents.python is not None:
        found = _Interpreter.at(contents.python)
    else:
        machine = ARCHITECTURES[contents.architecture]
        name = f"cpython-{contents.python_version}-linux-{machine}-gnu"
        tell(f"getting {name}")
        folder = work / "python"
        try:
            _uv("python", "install", name, "--install-dir", folder, "--no-bin")
        except EngineError as error:
            raise EngineError(
                f"{error}; where it can't be downloaded, name the directory of a standalone "
                "Python with --python"
            ) from error
        (place,) = (path for path in folder.iterdir() if path.name.startswith(name[:12]))
        found = _Interpreter.at(place)
    found.check(contents.glibc)
    return found


def _glibc_of(code: bytes) -> tuple[int, ...]:
    """Give the greatest version of glibc whose functions a binary names."""
    versions = re.findall(rb"GLIBC_(\d+\.\d+)", code)
    return max((_numbers(version.decode()) for version in versions), default=(0, 0))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _install(contents: Contents, python: str, target: Path, work: Path) -> None:
    """Install this project and the plug-ins in the versions that are installed here."""
    installed = {_normal(one.name): one for one in distributions()}
    modules: list[Path] = []
    wanted: dict[str, Distribution] = {OWN: distribution(OWN)}
    for choice, group in _with_groups(contents.plugins):
        found = _distribution_of(choice, group)
        if isinstance(found, Path):
            modules.append(found)
        else:
            wanted[_normal(found.name)] = found
    required = {
        _normal(re.split(r"[^\w.-]", line, maxsplit=1)[0])
        for line in distribution(OWN).requires or ()
        if "extra ==" not in line
    }
    pins = work / "pins.txt"
    pins.write_text(
        "\n".join(f"{name}=={one.version}" for name, one in installed.items() if name not in wanted)
    )
    left_out = work / "left-out.txt"
    # A requirement whose marker never holds takes the place of every other one of that name.
    left_out.write_text(
        "\n".join(f"{name}; python_version < '3'" for name in sorted(required - {*NEEDED}))
    )
    _uv(
        *("pip", "install", "--target", target, "--python-version", python),
        *("--python-platform", _platform(contents), "--only-binary", ":all:"),
        *("--constraint", pins, "--override", left_out, "--link-mode", "copy"),
        *(_requirement(one, work / "wheels") for one in wanted.values()),
    )
    for module in modules:
        _copy(module, target / module.name)
    _tidy(target)


def _platform(contents: Contents) -> str:
    return f"{ARCHITECTURES[contents.architecture]}-manylinux_{contents.glibc.replace('.', '_')}"


def _with_groups(plugins: Iterable[PluginChoice]) -> Iterator[tuple[PluginChoice, str]]:
    """Give each plug-in with the group that its name is registered in; the first transforms."""
    for place, choice in enumerate(plugins):
        yield choice, ENRICHMENTS if place else TRANSFORMERS


def _distribution_of(choice: PluginChoice, group: str) -> Distribution | Path:
    """Give the distribution that brings a plug-in, or the module itself if none does."""
    if ":" not in choice.name:
        known = entry_points(group=group)
        if choice.name not in known.names:
            raise EngineError(
                f"there is no plug-in {choice.name!r} in {group}; install it here to package it"
            )
        return known[choice.name].dist
    top = choice.name.partition(":")[0].partition(".")[0]
    spec = find_spec(top)
    if spec is None:
        raise EngineError(f"plug-in {choice.name!r} can't be imported: install it here")
    place = Path(next(iter(spec.submodule_search_locations or ()), spec.origin or ""))
    for name in packages_distributions().get(top, ()):
        return distribution(name)
    for one in distributions():
        source = _source(one)
        if source is not None and place.is_relative_to(source) and one.name != OWN:
            return one
    return place


def _requirement(one: Distribution, wheels: Path) -> str | Path:
    """Give what installs a distribution: its wheel, built if it is installed from a folder."""
    source = _source(one)
    if source is None:
        return f"{one.name}=={one.version}"
    if source.suffix == ".whl":
        return source
    folder = wheels / one.name
    _uv("build", "--wheel", "--out-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _source(one: Distribution) -> Path | None:
    """Give the folder or wheel that a distribution is installed from, None for an index."""
    address = json.loads(one.read_text("direct_url.json") or "{}").get("url", "")
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv(*arguments: str | Path) -> None:
    program = _uv_program()
    done = subprocess.run(
        [program, *map(str, arguments), "--quiet"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineError(f"uv {arguments[0]} failed: {' '.join(done.stderr.split())}")


def _uv_program() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EngineError("packaging needs uv: install clickstream-dagster[emr], or uv itself")
    return found


def _copy(path: Path, target: Path) -> None:
    if not path.exists():
        raise EngineError(f"{path} is not there: correct emr_serverless.files or geo_database")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    else:
        shutil.copyfile(path, target)


def _tidy(site_packages: Path) -> None:
    shutil.rmtree(site_packages / "bin", ignore_errors=True)
    (site_packages / ".lock").unlink(missing_ok=True)
    for info in site_packages.glob("*.dist-info"):
        for name in _LEFT_BEHIND:
            (info / name).unlink(missing_ok=True)
    for name in _FOR_DEVELOPERS:
        for folder in site_packages.glob(f"*/{name}"):
            shutil.rmtree(folder)


def _write_archive(root: Path, out: Path) -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = 0
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    with (
        out.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for folder, folders, names in os.walk(root):
            folders.sort()
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in sorted([*names, *links]):
                path = Path(folder, name)
                archive.add(path, path.relative_to(root), recursive=False, filter=plain)
