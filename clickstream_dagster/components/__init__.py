"""The components that a YAML can name."""
