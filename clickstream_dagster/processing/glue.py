"""The Iceberg catalog of a lake on S3: AWS Glue."""

from typing import TYPE_CHECKING, Any

from clickstream_dagster.processing.storage import S3Storage

if TYPE_CHECKING:
    from pyiceberg.catalog.glue import GlueCatalog


def glue_catalog(root: str, storage: S3Storage) -> "GlueCatalog":
    """Give the catalog with the lake's warehouse and the lake's way to S3."""
    from pyiceberg.catalog.glue import GlueCatalog

    from clickstream_dagster.processing.lake_io import lake_io

    return GlueCatalog(
        "clickstream",
        client=_Client(storage),
        warehouse=root,
        **lake_io(storage),
    )


class _Client:
    """A client of Glue that asks for an update once.

    boto3 repeats a request whose answer was lost. Glue refuses to make the same update again, which
    looks like another writer's, and pyiceberg then removes the metadata of a commit that was made.
    """

    def __init__(self, storage: S3Storage) -> None:
        self._client = storage.s3.glue_client()
        self._once = storage.s3.glue_client(retries={"total_max_attempts": 1})

    def update_table(self, **request: Any) -> Any:
        return self._once.update_table(**request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
