"""What every command of `clickstream` has in common."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer
from typer.testing import CliRunner

from clickstream_dagster.cli import app


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Give each command below a group with its full name."""
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{word} ")
        else:
            yield f"{name}{word}", command


def test_every_option_and_argument_has_a_help_text() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert "infra plan" in found
    assert [
        f"{name}: {one.name}"
        for name, command in found.items()
        for one in command.params
        if not getattr(one, "help", None)
    ] == []


@pytest.mark.parametrize("command", ["ui", "demo --live"])
def test_a_port_that_there_is_not_is_refused(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--port", "99999"])
    assert result.exit_code == 2
    assert "99999 is not in the range 1<=x<=65535" in result.stderr


def test_a_process_that_collects_rarely_ends_without_a_complaint() -> None:
    """duckdb's binding tells of what is not taken apart, as soon as something is left alone."""
    code = """
import duckdb, gc
from clickstream_dagster.tuning import collect_rarely
collect_rarely()
duckdb.connect().sql("select 1").fetchall()
print(gc.get_threshold()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 100_000
