"""A double of Athena's API on the loopback, in front of a real Trino.

It speaks the JSON protocol that boto3 speaks, runs each statement when it is started, and hands
every call that is not about running one to `behind`, which knows work groups and saved queries.
What Athena's DDL spells in its own way is translated; everything else reaches Trino as it is.
"""

import json
import re
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.athena.trino_server import CATALOG
from tests.served import in_a_thread

_RUNS = {"StartQueryExecution", "GetQueryExecution", "GetQueryResults", "StopQueryExecution"}
_HIVE_PROPERTIES = re.compile(r"\b(table_type|is_external)\s*=\s*('[^']*'|true|false)\s*,?", re.I)
_HIVE_TABLE = re.compile(
    r"(?s)^(create table .*?\))\s*(?:partitioned by \((?P<parts>.*?)\)\s*)?"
    r"location '(?P<location>[^']*)'\s*tblproperties \(.*\)\s*$",
    re.I,
)


_RESERVED = re.compile(r"\bas (?:first|last)\b|\b(?:first|last)\.", re.I)
"""Words of Athena's list for queries that are names to Trino."""

_VIEW = re.compile(r'create or replace view\s+"\w+"\."(\w+)"\."(\w+)"', re.I)


class Killed(Exception):
    """Stands for the death of the caller before a statement."""


@dataclass
class Statement:
    """One statement that was run: its text, columns and rows, what it read, or why it failed."""

    text: str
    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    read_bytes: int = 0
    error: str | None = None


@dataclass
class AthenaEdge:
    """What the double has run, in order, and a place to interfere: `before` sees each text."""

    trino_port: int
    behind: str
    url: str = ""
    ran: list[Statement] = field(default_factory=list)
    by_id: dict[str, Statement] = field(default_factory=dict)
    before: Callable[[str], None] = lambda text: None
    # Glue refuses an update of a table that another one has been quicker with; moto does not.
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def run(self, text: str, schema: str | None = None, parameters: list[Any] = ()) -> Statement:
        """Run one statement of Athena's on Trino."""
        from trino.dbapi import connect
        from trino.exceptions import TrinoQueryError

        statement = Statement(text)
        self.ran.append(statement)
        if word := _RESERVED.search(text):
            statement.error = f"SYNTAX_ERROR: {word[0]!r} has a word that Athena reserves"
            return statement
        with connect(
            host="127.0.0.1", port=self.trino_port, user="test", catalog=CATALOG, schema=schema
        ) as connection:
            cursor = connection.cursor()
            try:
                with self.one_at_a_time:
                    cursor.execute(translated(text), parameters or None)
                    statement.rows = cursor.fetchall()
                statement.columns = [
                    (c[0], c[1].partition("(")[0]) for c in cursor.description or ()
                ]
                statement.read_bytes = cursor.stats["physicalInputBytes"]
                if view := _VIEW.match(_without_comment(text)):
                    _describe_view(cursor, view[1], view[2])
            except TrinoQueryError as error:
                statement.error = f"{error.error_name}: {error.message}"
        return statement

    def answer(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """Give the answer to one of the calls that run statements."""
        if operation == "StartQueryExecution":
            self.before(body["QueryString"])
            context = body.get("QueryExecutionContext", {})
            id_ = str(uuid.uuid4())
            self.by_id[id_] = self.run(body["QueryString"], context.get("Database"))
            return {"QueryExecutionId": id_}
        statement = self.by_id[body["QueryExecutionId"]]
        if operation == "GetQueryExecution":
            return {"QueryExecution": _execution(body["QueryExecutionId"], statement)}
        if operation == "GetQueryResults":
            return _results(statement)
        return {}


def translated(text: str) -> str:
    """Give Athena's statement as Trino spells it."""
    text = _without_comment(text).rstrip(";")
    if re.match(r"create (table|schema)|drop table|alter table", text, re.I):
        text = text.replace("`", '"')
        if hive := _HIVE_TABLE.match(text):
            columns = re.sub(r"\bstring\b", "varchar", hive[1])
            text = f"{columns} with (location = '{hive['location']}')"
        else:
            head, as_, query = (
                re.split(r"(\)\s*as\s)", text, maxsplit=1) if "with" in text else (text, "", "")
            )
            text = _HIVE_PROPERTIES.sub("", head) + as_ + query
    return text


def _without_comment(text: str) -> str:
    """Give a statement without the comment that dbt puts before it."""
    return re.sub(r"(?m)^\s*-- /\*.*\*/\s*$", "", text).strip()


def _execution(id_: str, statement: Statement) -> dict[str, Any]:
    is_dml = re.match(
        r"(select|with|insert|merge|delete)\b", _without_comment(statement.text), re.I
    )
    status: dict[str, Any] = {"State": "FAILED" if statement.error else "SUCCEEDED"}
    if statement.error:
        status["StateChangeReason"] = statement.error
        status["AthenaError"] = {"ErrorMessage": statement.error}
    return {
        "QueryExecutionId": id_,
        "Query": statement.text,
        "StatementType": "DML" if is_dml else "DDL",
        "Status": status,
        "Statistics": {"DataScannedInBytes": statement.read_bytes},
    }


def _results(statement: Statement) -> dict[str, Any]:
    def cell(value: Any) -> dict[str, str]:
        return {} if value is None else {"VarCharValue": str(value)}

    is_query = re.match(r"(select|with)\b", _without_comment(statement.text), re.I)
    rows = [list(map(cell, row)) for row in statement.rows]
    if is_query:
        rows.insert(0, [{"VarCharValue": name} for name, _ in statement.columns])
    return {
        "UpdateCount": 0,
        "ResultSet": {
            "Rows": [{"Data": row} for row in rows] if is_query else [],
            "ResultSetMetadata": {
                "ColumnInfo": [
                    {
                        "CatalogName": "hive",
                        "SchemaName": "",
                        "TableName": "",
                        "Name": name,
                        "Label": name,
                        "Type": type_,
                        "Precision": 0,
                        "Scale": 0,
                        "Nullable": "UNKNOWN",
                        "CaseSensitive": False,
                    }
                    for name, type_ in (statement.columns if is_query else ())
                ]
            },
        },
    }


def _describe_view(cursor: Any, database: str, name: str) -> None:
    """Tell Glue the columns of a view, as Athena does and Trino does not."""
    from moto.glue.models import glue_backends

    cursor.execute(f'show columns from "{database}"."{name}"')
    columns = [{"Name": row[0], "Type": row[1]} for row in cursor.fetchall()]
    table = glue_backends["123456789012"]["us-east-1"].get_table(database, name)
    for version in table.versions.values():
        version.setdefault("StorageDescriptor", {"Columns": columns, "Location": ""})


def _update_named_query(body: dict[str, Any]) -> None:
    query = _kept().named_queries[body["NamedQueryId"]]
    query.name = body["Name"]
    query.query_string = body["QueryString"]
    query.description = body.get("Description")


def _update_work_group(body: dict[str, Any]) -> None:
    updates = body["ConfigurationUpdates"]
    results = updates.pop("ResultConfigurationUpdates")
    held = _kept().work_groups[body["WorkGroup"]].configuration
    held.update(updates, ResultConfiguration=results)


def _kept() -> Any:
    """Give what moto keeps of Athena in this process; it lacks the calls that update."""
    from moto.athena.models import athena_backends

    return athena_backends["123456789012"]["us-east-1"]


_UPDATES = {"UpdateNamedQuery": _update_named_query, "UpdateWorkGroup": _update_work_group}


@contextmanager
def served_athena(trino_port: int, behind: str) -> Iterator[AthenaEdge]:
    """Serve the double on a free port of the loopback."""
    edge = AthenaEdge(trino_port, behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            try:
                if operation in _RUNS:
                    status, answer = 200, json.dumps(edge.answer(operation, json.loads(body)))
                elif operation in _UPDATES:
                    _UPDATES[operation](json.loads(body))
                    status, answer = 200, "{}"
                else:
                    status, answer = self._behind(body)
            except Killed:
                status = 400
                answer = json.dumps({"__type": "InvalidRequestException", "Message": "killed"})
            content = answer if isinstance(answer, bytes) else answer.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _behind(self, body: bytes) -> tuple[int, bytes]:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "content-length", "connection")
            }
            request = urllib.request.Request(edge.behind, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        def log_message(self, *_: object) -> None:
            pass

    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as edge.url:
        yield edge
