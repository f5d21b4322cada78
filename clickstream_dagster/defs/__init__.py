"""One folder per project, each with the YAML of a `ClickstreamProject`."""
