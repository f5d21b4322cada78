"""Measurements, not tests: figures differ from machine to machine, ratios of one run hold."""
