"""Dagster components: what a user names in a defs.yaml."""

from clickstream_dagster.components.project import ClickstreamProject

__all__ = ["ClickstreamProject"]
