"""A user's enrichment on Spark DataFrames, as a test of the contract."""

from clickstream_dagster.processing.plugins import Plugin


class UpperCasePlatform(Plugin):
    """Writes the platform in capitals."""

    def transform(self, data: object) -> object:
        """Give the events with another platform."""
        from pyspark.sql import functions as F

        return data.withColumn("platform", F.upper("platform"))


class Same(Plugin):
    """Changes nothing, on Spark DataFrames."""

    def transform(self, data: object) -> object:
        """Give the events as they are."""
        return data
