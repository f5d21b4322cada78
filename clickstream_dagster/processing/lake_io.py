"""How pyiceberg reads and writes a lake on S3: as the rest of the processing does.

pyiceberg's own access to S3 knows no KMS key, and no profile.
"""

import io
from typing import Any

from pyarrow.fs import FileSystem
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from clickstream_dagster.processing.storage import S3Storage

STORAGE = "clickstream.storage"
"""Property of the catalog that holds the S3Storage."""


class LakeIO(PyArrowFileIO):
    """Files of Iceberg on S3: read by Arrow, written and removed by the storage."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self._storage: S3Storage = properties[STORAGE]
        # Not kept as the base class does: the credentials of a role run out.
        self.fs_by_scheme = self._initialize_fs

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        return self._storage.s3.filesystem()

    def new_output(self, location: str) -> PyArrowFile:
        """Give a file to write: complete and encrypted when it is closed."""
        _, _, path = self.parse_location(location)
        return _Output(location, path, self._storage)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file."""
        self._storage.remove([location if isinstance(location, str) else location.location])


class _Output(PyArrowFile):
    def __init__(self, location: str, path: str, storage: S3Storage) -> None:
        super().__init__(location, path, storage.s3.filesystem())
        self._storage = storage

    def create(self, overwrite: bool = False) -> io.BytesIO:
        if not overwrite and self.exists():
            raise FileExistsError(f"{self.location} is there already")
        return _Upload(self.location, self._storage)


class _Upload(io.BytesIO):
    """Metadata has some megabytes at most: it is kept until it is complete."""

    def __init__(self, location: str, storage: S3Storage) -> None:
        super().__init__()
        self._location = location
        self._storage = storage

    def close(self) -> None:
        if not self.closed:
            self._storage.write(self._location, self.getvalue())
        super().close()
