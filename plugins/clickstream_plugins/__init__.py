"""The built-in transformer and enrichments, each a model for a user's own."""
