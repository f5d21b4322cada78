"""The double's network: a server that speaks PostgreSQL's protocol, version 3, as Redshift does.

It knows what redshift_connector sends: start, parse, describe, bind, execute, close, sync.
"""

import json
import socketserver
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from tests.redshift.engine import Engine, RedshiftError, Result, Session
from tests.served import in_a_thread

TEXT_OID = 1043
OIDS = {
    "BOOLEAN": 16,
    "BIGINT": 20,
    "SMALLINT": 21,
    "INTEGER": 23,
    "FLOAT": 700,
    "DOUBLE": 701,
    "DATE": 1082,
    "TIMESTAMP": 1114,
    "HUGEINT": 1700,
}
BINARY = {
    16: lambda value: struct.pack("!?", value),
    20: lambda value: struct.pack("!q", value),
    21: lambda value: struct.pack("!h", value),
    23: lambda value: struct.pack("!i", value),
    700: lambda value: struct.pack("!f", value),
    701: lambda value: struct.pack("!d", value),
    1082: lambda value: struct.pack("!i", (value - date(2000, 1, 1)).days),
    1114: lambda value: struct.pack(
        "!q", round((value - datetime(2000, 1, 1)).total_seconds() * 1_000_000)
    ),
}


@dataclass
class Statement:
    """A prepared statement; `result` is kept between describe and execute."""

    sql: str
    result: Result | None = None


class Connection(socketserver.StreamRequestHandler):
    """One client."""

    disable_nagle_algorithm = True  # an answer is several short messages: each would wait for 40 ms

    def handle(self) -> None:
        self._start()
        self.session: Session = self.server.engine.session()  # type: ignore[attr-defined]
        self.statements: dict[bytes, Statement] = {}
        self.bound: tuple[Statement, list[int]] | None = None
        self.failed = False
        try:
            while kind := self.rfile.read(1):
                (length,) = struct.unpack("!i", self.rfile.read(4))
                body = self.rfile.read(length - 4)
                if kind == b"X":
                    return
                self._answer(kind, body)
        finally:
            self.session.close()

    def _start(self) -> None:
        (length,) = struct.unpack("!i", self.rfile.read(4))
        self.rfile.read(length - 4)
        self._send(b"R", struct.pack("!i", 0))
        for name, value in {"server_version": "8.0.2", "client_encoding": "UTF8"}.items():
            self._send(b"S", f"{name}\0{value}\0".encode())
        self._send(b"K", struct.pack("!ii", 1, 1))
        self._send(b"Z", b"I")

    def _answer(self, kind: bytes, body: bytes) -> None:
        if kind == b"S":
            self.failed = False
            self._send(b"Z", b"T" if self.session.open else b"I")
        elif self.failed or kind == b"H":
            return
        else:
            try:
                {
                    b"P": self._parse,
                    b"D": self._describe,
                    b"B": self._bind,
                    b"E": self._execute,
                }.get(kind, self._close)(body)
            except RedshiftError as error:
                self.failed = True
                fields = f"SERROR\0CXX000\0M{error}\0\0".encode()
                self._send(b"E", fields)

    def _parse(self, body: bytes) -> None:
        name, sql, _ = body.split(b"\0", 2)
        self.statements[name] = Statement(sql.decode())
        self._send(b"1")

    def _describe(self, body: bytes) -> None:
        statement = self.statements[body[1:].rstrip(b"\0")]
        self._send(b"t", struct.pack("!h", 0))
        if not statement.sql.strip() or not self.session.returns_rows(statement.sql):
            self._send(b"n")
            return
        statement.result = self.session.run(statement.sql)
        columns = [
            name.encode() + b"\0" + struct.pack("!ihihih", 0, 0, _oid(type_), -1, -1, 0)
            for name, type_ in statement.result.columns
        ]
        self._send(b"T", struct.pack("!h", len(columns)) + b"".join(columns))

    def _bind(self, body: bytes) -> None:
        _, name, rest = body.split(b"\0", 2)
        formats, values = struct.unpack_from("!h", rest)[0], 0
        at = 2 + 2 * formats
        (values,) = struct.unpack_from("!h", rest, at)
        if values:
            raise RedshiftError("the double takes no parameters")
        (count,) = struct.unpack_from("!h", rest, at + 2)
        codes = list(struct.unpack_from(f"!{count}h", rest, at + 4))
        self.bound = self.statements[name], codes
        self._send(b"2")

    def _execute(self, _: bytes) -> None:
        assert self.bound is not None
        statement, codes = self.bound
        if not statement.sql.strip():
            self._send(b"I")
            return
        result = statement.result or self.session.run(statement.sql)
        statement.result = None
        oids = [_oid(type_) for _, type_ in result.columns]
        codes = codes or [0] * len(oids)
        for row in result.rows:
            cells = [
                _cell(value, oid, code) for value, oid, code in zip(row, oids, codes, strict=True)
            ]
            self._send(b"D", struct.pack("!h", len(cells)) + b"".join(cells))
        words = {"INSERT": "INSERT 0 0", "UPDATE": "UPDATE 0", "DELETE": "DELETE 0"}
        self._send(b"C", f"{words.get(result.tag, result.tag)}\0".encode())

    def _close(self, body: bytes) -> None:
        self._send(b"3")

    def _send(self, kind: bytes, body: bytes = b"") -> None:
        self.wfile.write(kind + struct.pack("!i", len(body) + 4) + body)


def _oid(type_: str) -> int:
    return 1700 if type_.startswith("DECIMAL") else OIDS.get(type_, TEXT_OID)


def _cell(value: Any, oid: int, code: int) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    if code == 1 and oid in BINARY:
        raw = BINARY[oid](value)
    elif isinstance(value, bool):
        raw = b"t" if value else b"f"
    else:
        raw = (json.dumps(value) if isinstance(value, dict | list) else str(value)).encode()
    return struct.pack("!i", len(raw)) + raw


@contextmanager
def serving(engine: Engine) -> Iterator[int]:
    """Serve an engine on loopback; gives the port."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Connection)
    server.engine = engine  # type: ignore[attr-defined]
    with in_a_thread(server):
        yield server.server_address[1]
