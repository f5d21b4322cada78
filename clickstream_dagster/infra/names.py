"""Names that modules have where the YAML gives none."""


def default_workgroup(project_id: str) -> str:
    """Give the name of a new workgroup of Redshift, and of its namespace."""
    return f"clickstream-{project_id.replace('_', '-')}"
