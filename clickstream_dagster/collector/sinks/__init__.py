"""Sinks: where the collector's records go, one per project (seed 000, "Data sink")."""


def sink_of(uri, settings):
    from pathlib import Path

    from clickstream_dagster.collector.sinks.directory import DirectorySink

    return DirectorySink(Path(uri))
