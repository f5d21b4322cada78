"""The Iceberg catalog of a lake in a directory: SQLite at `catalog.db` in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clickstream_dagster.errors import LakeError

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

    from clickstream_dagster.processing.storage import Storage

_FILE = "catalog.db"


def has_catalog(root: str) -> bool:
    """Whether a directory has a catalog. Makes nothing."""
    return Path(root, _FILE).exists()


def sqlite_catalog(root: str, storage: "Storage") -> "SqlCatalog":
    """Give the catalog in a directory; both are made if they are not there.

    Raises LakeError when they can't be.
    """
    from pyiceberg.catalog.sql import SqlCatalog
    from sqlalchemy.exc import DatabaseError, OperationalError

    from clickstream_dagster.processing.lake_io import lake_io

    def connect() -> SqlCatalog:
        return SqlCatalog(
            "clickstream",
            uri=f"sqlite:///{root}/{_FILE}",
            warehouse=root,
            **lake_io(storage),
        )

    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        try:
            return connect()
        except OperationalError as error:
            if "already exists" not in str(error):
                raise
            return connect()  # another process has made its tables at the same moment
    except (OSError, DatabaseError) as error:
        raise LakeError(
            f"the sink {root} can't be used as a lake: {error}; name a directory that this user"
            " may write"
        ) from error


@contextmanager
def clear_database_errors(root: str) -> Iterator[None]:
    """Raise LakeError, which says what to do, for what SQLite has against a request."""
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except DatabaseError as error:
        raise LakeError(
            f"the catalog {root}/{_FILE} can't be used: {error.orig}; end what else is at the file,"
            " or make room, and run it again: it ends as if nothing had happened"
        ) from error
