"""A DuckDB file and the schemas in it must differ in their names.

DuckDB calls a file's content by the file's name up to its first dot. If a schema is called the
same, `name.table` may mean either: views on it can't be made, and nobody could read them.
"""

from pathlib import Path

from clickstream_dagster.errors import SettingError

_DUCKDBS_OWN = {"temp", "system", "information_schema", "pg_catalog"}


def require_own_name(project_id: str, file: Path) -> None:
    """Raise SettingError when DuckDB could mistake the file for a schema of the project."""
    schemas = {project_id, f"{project_id}_lake"}
    if project_id in _DUCKDBS_OWN:
        raise SettingError(
            f"project_id {project_id!r} is a name that DuckDB keeps for itself: write another"
        )
    if file.name.partition(".")[0].lower() in schemas:
        raise SettingError(
            f"the warehouse {file} is named like a schema of the project {project_id}, and DuckDB"
            f" can't tell them apart: name the file otherwise, for example"
            f" {file.with_name(f'{project_id}_models.duckdb')}"
        )
