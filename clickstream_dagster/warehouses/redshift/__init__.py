"""Amazon Redshift as a warehouse: tables, loading, users, expiry, and a schema for each app."""
