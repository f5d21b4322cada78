"""The engine and the lake that tests of processing use."""

from tests.processing.conftest import city_database, pipeline, spark

__all__ = ["city_database", "pipeline", "spark"]
