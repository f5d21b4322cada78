"""A project's stacks on AWS: what they are made of, planned, applied and destroyed."""
