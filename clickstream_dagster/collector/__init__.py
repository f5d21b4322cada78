"""The collector: takes behaviour events over HTTP and gives them to a sink, each at least once."""
