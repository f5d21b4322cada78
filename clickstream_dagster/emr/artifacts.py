"""What job runs start from, in S3: packages under the digest of their content, and the newest one.

Below the artifacts address:

    packages/<digest>/environment.tar.gz   interpreter, libraries, plug-ins, files of the project
    packages/<digest>/job.py               the entry point
    packages/<digest>/package.json         what is in it; written last
    package.json                           the same of the newest package
    logs/                                  logs of the job runs, written by EMR
    pipes/                                 messages of the job runs, for Dagster
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clickstream_dagster.batches.objects import S3_SCHEME, split_s3
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.batches.store import S3Store
from clickstream_dagster.errors import EngineError

POINTER = "package.json"
_DIGEST_SIGNS = 16


@dataclass(frozen=True, slots=True)
class Package:
    """A package in S3: the URIs of its archive and entry point, and what it was built for."""

    digest: str
    archive: str
    entry_point: str
    architecture: str
    python: str


class Artifacts:
    """The packages below `s3://bucket/prefix`. Raises LakeError when S3 refuses."""

    def __init__(self, address: str, s3: S3Access) -> None:
        self.bucket, self.prefix = split_s3(address)
        self.s3 = s3
        self._store = S3Store(address, s3)

    def address(self, key: str) -> str:
        """Give the URI of a key below the artifacts address."""
        return f"{S3_SCHEME}{self.bucket}/{self.prefix}{key}"

    def package(self, digest: str | None = None) -> Package:
        """Give the package of a digest, the newest one without.

        Raises EngineError when there is none.
        """
        body = self._store.read(POINTER if digest is None else f"packages/{digest}/{POINTER}")
        if body is None:
            raise EngineError(
                f"{self.address('')} holds no package{f' {digest}' if digest else ''}: put one "
                "there with clickstream package emr"
            )
        return Package(**json.loads(body))

    def put(self, archive: Path, entry_point: Path, about: dict[str, str]) -> tuple[Package, bool]:
        """Put a package and make it the newest; give it, and whether it was not there before."""
        digest = _digest(archive, entry_point)
        folder = f"packages/{digest}/"
        package = Package(
            digest=digest,
            archive=self.address(f"{folder}environment.tar.gz"),
            entry_point=self.address(f"{folder}job.py"),
            **about,
        )
        pointer = json.dumps(asdict(package), indent=1).encode()
        is_new = not self._store.exists(folder + POINTER)
        if is_new:
            client = self.s3.client()
            for path, uri in ((archive, package.archive), (entry_point, package.entry_point)):
                self._upload(client, path, uri)
            self._store.write(folder + POINTER, pointer)
        self._store.write(POINTER, pointer)
        return package, is_new

    def _upload(self, client: Any, path: Path, uri: str) -> None:
        from boto3.exceptions import S3UploadFailedError

        key = uri.removeprefix(f"{S3_SCHEME}{self.bucket}/")
        try:
            with clear_aws_errors(
                EngineError, self.address(""), "s3:PutObject", "create the bucket"
            ):
                client.upload_file(str(path), self.bucket, key, ExtraArgs=self.s3.encryption())
        except S3UploadFailedError as error:
            raise EngineError(
                f"{uri} can't be written: {error}; the credentials in use need s3:PutObject"
            ) from error


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:_DIGEST_SIGNS]
