"""A clickstream pipeline on Dagster: collect, process, model and report behaviour events.

Nothing is imported here, so that a Spark executor can import the processing code without Dagster.
"""

__version__ = "0.1.0"
