"""The package of a job run holds what processing needs, and is put to S3 once."""

import re
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

import clickstream_dagster
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.emr.artifacts import Artifacts
from clickstream_dagster.emr.package import NEEDED, OWN, Contents, build_archive
from clickstream_dagster.errors import EngineError, LakeError
from tests.test_rooms import ROOT, imported_modules

ABOUT = {"architecture": "x86_64", "python": "3.11"}


def names(lines: list[str] | None) -> set[str]:
    return {
        re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line, maxsplit=1)[0]).lower()
        for line in lines or ()
        if "extra ==" not in line
    }


def test_what_is_needed_is_a_requirement_and_brings_its_own_requirements() -> None:
    required = names(distribution(OWN).requires)
    assert set(NEEDED) <= required
    # A requirement that is left out would be missing in a library that needs it.
    of_needed = {one for name in NEEDED for one in names(distribution(name).requires)}
    assert (of_needed & required) - set(NEEDED) == set()


@pytest.mark.heavy
def test_what_a_job_imports_is_packaged() -> None:
    package = Path(clickstream_dagster.__file__).parent
    folders = [package / room for room in ("batches", "processing", "emr")]
    files = [file for folder in (*folders, ROOT / "plugins") for file in folder.rglob("*.py")]
    tops = {module.partition(".")[0] for file in files for module in imported_modules(file)}
    brought = {name for top in tops for name in packages_distributions().get(top, ())}
    # Spark is EMR's own; the others are of the engine in one process, and imported for it only.
    elsewhere = {"pyspark", "pysail", "loky"}
    found = names([*brought]) & names(distribution(OWN).requires)
    assert {"numba", "pyarrow", "dagster-pipes"} <= found
    assert found - set(NEEDED) == elsewhere


def test_an_interpreter_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is no interpreter with its library beside it"):
        build_archive(Contents(python=tmp_path), tmp_path / "out.tar.gz", print)


def test_an_interpreter_that_needs_a_newer_system_is_told(
    standalone_python: Path, tmp_path: Path
) -> None:
    contents = Contents(python=standalone_python, glibc="2.1")
    with pytest.raises(EngineError, match=r"needs glibc 2\.\d+, EMR has 2\.1: name a standalone"):
        build_archive(contents, tmp_path / "out.tar.gz", print)


def test_an_interpreter_that_is_bound_to_its_place_is_told(
    standalone_python: Path, tmp_path: Path
) -> None:
    bound = tmp_path / "python"
    (bound / "bin").mkdir(parents=True)
    name = next((standalone_python / "bin").glob("python3.*")).name
    code = (standalone_python / "bin" / name).read_bytes()
    (bound / "bin" / name).write_bytes(code + f"libpython\0{bound}/lib".encode())
    (bound / "lib").symlink_to(standalone_python / "lib")
    with pytest.raises(EngineError, match="looks for its library in"):
        build_archive(Contents(python=bound), tmp_path / "out.tar.gz", print)


def test_a_package_is_put_once_and_the_newest_is_found(bucket, tmp_path: Path) -> None:
    artifacts = Artifacts(bucket.address("emr"), S3Access())
    archive, job = tmp_path / "archive", tmp_path / "job.py"
    archive.write_text("first")
    job.write_text("main()")
    first, is_new = artifacts.put(archive, job, ABOUT)
    assert is_new
    assert artifacts.put(archive, job, ABOUT) == (first, False)
    archive.write_text("second")
    second, _ = artifacts.put(archive, job, ABOUT)
    assert artifacts.package() == second
    assert artifacts.package(first.digest) == first
    assert first.archive == bucket.address(f"emr/packages/{first.digest}/environment.tar.gz")
    key = first.archive.removeprefix(f"s3://{bucket.name}/")
    assert bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() == b"first"


def test_artifacts_without_a_package_are_told(bucket) -> None:
    artifacts = Artifacts(bucket.address("emr"), S3Access())
    with pytest.raises(EngineError, match="holds no package: put one there with clickstream"):
        artifacts.package()


def test_a_bucket_that_is_not_there_is_told(aws, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("first")
    artifacts = Artifacts("s3://no-such-bucket-anywhere/emr", S3Access())
    with pytest.raises(LakeError, match="does not exist; create the bucket"):
        artifacts.put(tmp_path / "archive", tmp_path / "archive", ABOUT)
