"""How SQL reaches Redshift, and how names and values get into it."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Protocol

from clickstream_dagster.errors import ClickstreamError

Row = tuple[object, ...]
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,126}")
_PRINCIPAL = re.compile(r"[\w.:@+=,/#$-]{1,127}")


class RedshiftError(ClickstreamError):
    """Redshift has refused a statement, can't be reached, or is set up in another way."""


class Sql(Protocol):
    """A way to a database of Redshift. Every method raises RedshiftError."""

    def query(self, statement: str) -> list[Row]:
        """Give the rows of a query; dates and times as text."""
        ...

    def execute(self, statement: str) -> None:
        """Run one statement by itself; some can't be in a transaction."""
        ...

    def transaction(self, statements: Sequence[str]) -> None:
        """Run statements in one session and one transaction: all take effect, or none does."""
        ...


def name(text: str) -> str:
    """Give a name of a schema, table, column or role, quoted.

    Redshift folds names to lower case even when they are quoted, so only such are taken.
    """
    if not _NAME.fullmatch(text):
        raise RedshiftError(
            f"{text!r} can't be a name in Redshift: write lower-case letters, digits and"
            " underscores, up to 127"
        )
    return quoted(text)


def principal(text: str) -> str:
    """Give a name of a role, group or user, quoted; those of IAM begin with `IAM:` or `IAMR:`."""
    if not _PRINCIPAL.fullmatch(text):
        raise RedshiftError(
            f"{text!r} can't be a name of a role, group or user: write letters, digits and"
            " _ . : @ + = , / # $ -, up to 127"
        )
    return quoted(text)


def quoted(text: str) -> str:
    """Give any name as the catalog has it, quoted."""
    return '"' + text.replace('"', '""') + '"'


def literal(value: str | int | date | None) -> str:
    """Give a value as a literal."""
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    if "\0" in value:
        raise RedshiftError(f"{value!r} has a zero byte, which Redshift can't hold")
    # A backslash in a plain literal of Redshift begins an escape.
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def literals(values: Sequence[str | int | date]) -> str:
    """Give values as a list for `in (...)`."""
    return ", ".join(map(literal, values))


def beginning(statement: str) -> str:
    """Give the first words of a statement, for a message."""
    text = " ".join(statement.split())
    return text if len(text) <= 120 else text[:119] + "…"
