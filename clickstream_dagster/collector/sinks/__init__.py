"""Sinks: where the collector's records go, one per project (seed 000, "Data sink")."""
