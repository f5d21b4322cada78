"""Athena: the work group that limits what a query reads, and the saved queries of the views."""
