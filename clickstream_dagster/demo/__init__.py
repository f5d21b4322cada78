"""`clickstream demo`: a week of generated traffic through the project `demo`."""
