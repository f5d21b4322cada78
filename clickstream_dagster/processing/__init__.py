"""From raw requests to `ods_event`: plain functions on values, no Dagster import."""
