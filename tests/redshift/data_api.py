"""The double's Data API: an HTTP server that takes boto3's calls and hands the SQL to the engine.

A transaction that fails tells so when it is described, as the service does.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from tests.answering import Answer, Request, answering
from tests.redshift.engine import Engine, RedshiftError


class DataApiDouble:
    """Statements that were handed over, and their results."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.described: dict[str, dict[str, Any]] = {}
        self.records: dict[str, list[Any]] = {}
        self.page = 1000

    def answer(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append((action, request))
        if action in ("ExecuteStatement", "BatchExecuteStatement"):
            return self._run(request.get("Sqls") or [request["Sql"]])
        id_ = request["Id"]
        if action == "DescribeStatement":
            return {"Id": id_, **self.described[id_]}
        if action == "CancelStatement":
            return {"Status": True}
        start = int(request.get("NextToken") or 0)
        records = self.records[id_]
        more = {"NextToken": str(start + self.page)} if len(records) > start + self.page else {}
        return {"Records": records[start : start + self.page], "ColumnMetadata": [], **more}

    def _run(self, statements: list[str]) -> dict[str, Any]:
        id_ = str(uuid.uuid4())
        session = self.engine.session()
        parts: list[dict[str, Any]] = []
        try:
            if len(statements) > 1:
                session.run("begin")
            for statement in statements:
                parts.append({"Id": f"{id_}:{len(parts) + 1}", "Status": "FAILED"})
                result = session.run(statement)
                parts[-1]["Status"] = "FINISHED"
            if len(statements) > 1:
                session.run("commit")
            self.records[id_] = [[_field(value) for value in row] for row in result.rows]
            self.described[id_] = {"Status": "FINISHED", "SubStatements": parts}
        except RedshiftError as error:
            parts[-1]["Error"] = str(error)
            self.described[id_] = {
                "Status": "FAILED",
                "Error": str(error),
                "SubStatements": parts if len(statements) > 1 else [],
            }
            if session.open:
                session.run("rollback")
        finally:
            session.close()
        return {"Id": id_}


def _field(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        return {"longValue": value}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, date | datetime):
        return {"stringValue": str(value)}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


@contextmanager
def serving(double: DataApiDouble) -> Iterator[str]:
    """Serve on loopback; gives the address."""

    def answer(request: Request) -> Answer:
        action = request.headers["X-Amz-Target"].split(".")[-1]
        told = double.answer(action, json.loads(request.body))
        kind = {"Content-Type": "application/x-amz-json-1.1"}
        return Answer(200, kind, json.dumps(told).encode())

    with answering(answer) as address:
        yield address
