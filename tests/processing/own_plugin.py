"""A user's enrichment on Spark DataFrames, as a test of the contract."""

from clickstream_dagster.processing.plugins import Plugin


class UpperCasePlatform(Plugin):
    """Writes the platform in capitals."""

    def transform(self, data: object) -> object:
        """Give the events with another platform."""
        from pyspark.sql import functions as F

        return data.withColumn("platform", F.upper("platform"))


class CountsFirst(Plugin):
    """Reads its rows twice: writes how many events an app has in all beside each of them."""

    def transform(self, data: object) -> object:
        """Give the events with the number as their platform."""
        from pyspark.sql import functions as F

        counts = data.groupBy("app_id").agg(F.count("*").cast("string").alias("events"))
        return data.join(counts, "app_id").withColumn("platform", F.col("events")).drop("events")


class Same(Plugin):
    """Changes nothing, on Spark DataFrames."""

    def transform(self, data: object) -> object:
        """Give the events as they are."""
        return data
