"""Asset factories: Dagster at the edge, the work is done in `batches` and `processing`."""
