"""How pyiceberg reads and writes the lake's metadata: by the storage, as all else is written.

pyiceberg's own access to S3 knows no KMS key, and no profile; its own files in a directory may be
lost with the power behind the commit that names them.
"""

import io
from typing import Any

from pyarrow.fs import FileSystem
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from clickstream_dagster.processing.storage import S3Storage, Storage

_STORAGE = "clickstream.storage"  # property of a catalog


def lake_io(storage: Storage) -> dict[str, Any]:
    """Give the properties of a catalog whose files go through `storage`."""
    return {"py-io-impl": f"{LakeIO.__module__}.{LakeIO.__name__}", _STORAGE: storage}


class LakeIO(PyArrowFileIO):
    """Files of Iceberg: read by Arrow, written and removed by the storage."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self._storage: Storage = properties[_STORAGE]
        # Not kept as the base class does: the credentials of a role run out.
        self.fs_by_scheme = self._initialize_fs

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        if isinstance(self._storage, S3Storage):
            return self._storage.s3.filesystem()
        return super()._initialize_fs(scheme, netloc)

    def new_output(self, location: str) -> PyArrowFile:
        """Give a file to write: complete, durable and encrypted when it is closed."""
        scheme, netloc, path = self.parse_location(location)
        return _Output(location, path, self._initialize_fs(scheme, netloc), self._storage)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file."""
        self._storage.remove(
            [_as_stored(location if isinstance(location, str) else location.location)]
        )


class _Output(PyArrowFile):
    def __init__(self, location: str, path: str, files: FileSystem, storage: Storage) -> None:
        super().__init__(location, path, files)
        self._storage = storage

    def create(self, overwrite: bool = False) -> io.BytesIO:
        if not overwrite and self.exists():
            raise FileExistsError(f"{self.location} is there already")
        return _Upload(self.location, self._storage)


class _Upload(io.BytesIO):
    """Metadata has some megabytes at most: it is kept until it is complete."""

    def __init__(self, location: str, storage: Storage) -> None:
        super().__init__()
        self._location = _as_stored(location)
        self._storage = storage

    def close(self) -> None:
        if not self.closed:
            self._storage.write(self._location, self.getvalue())
        super().close()


def _as_stored(location: str) -> str:
    return location.removeprefix("file://")
