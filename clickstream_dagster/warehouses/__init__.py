"""Warehouses that models are built in: what is set up in them beside the models."""
