"""Sensors, schedules and jobs that decide when assets are made."""
