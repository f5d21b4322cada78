"""The saved queries of the ten views, each with the parameters app, from and to.

Seed 000 compares year, month and day each on its own, which is wrong over the end of a month; here
the days from `from` to `to`, both included, are compared as dates.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_athena.client import AthenaClient
    from mypy_boto3_athena.type_defs import NamedQueryTypeDef


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query of a view: three `?` stand for app, from and to, in this order.

    Athena asks for them in its console, and takes them as `ExecutionParameters` elsewhere:
    `["'shop'", "'2024-12-28'", "'2025-01-03'"]`.
    """

    name: str
    description: str
    sql: str


def saved_queries() -> list[SavedQuery]:
    """Give the saved queries, by name. The first line of a file is its description."""
    found = []
    for file in sorted(files(__package__).joinpath("queries").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            sql = file.read_text()
            description = sql.partition("\n")[0].removeprefix("-- ")
            found.append(SavedQuery(file.name.removesuffix(".sql"), description, sql))
    return found


def ensure_saved_queries(client: "AthenaClient", database: str, work_group: str) -> list[str]:
    """Make the saved queries of a database in a work group, and change those that differ.

    Gives the names of those that were made or changed. Queries of other names, and of other
    databases, are left alone.
    """
    held = {
        query["Name"]: query
        for query in _queries_of(client, work_group)
        if query["Database"] == database
    }
    done = []
    for query in saved_queries():
        found = held.get(query.name)
        if found is None:
            client.create_named_query(
                Name=query.name,
                Description=query.description,
                Database=database,
                QueryString=query.sql,
                WorkGroup=work_group,
            )
        elif (found["QueryString"], found.get("Description")) != (query.sql, query.description):
            client.update_named_query(
                NamedQueryId=found["NamedQueryId"],
                Name=query.name,
                Description=query.description,
                QueryString=query.sql,
            )
        else:
            continue
        done.append(query.name)
    return done


def _queries_of(client: "AthenaClient", work_group: str) -> list["NamedQueryTypeDef"]:
    pages = client.get_paginator("list_named_queries").paginate(WorkGroup=work_group)
    return [
        client.get_named_query(NamedQueryId=id_)["NamedQuery"]
        for page in pages
        for id_ in page["NamedQueryIds"]
    ]
