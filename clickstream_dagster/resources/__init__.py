"""Connections to engines and stores, as Dagster resources and as the plain values below them."""
