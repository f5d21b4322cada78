"""What a collector's sink becomes: processed and modelled by the commands that users run."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.collector.running import RunningCollector

CLICKSTREAM = str(Path(sys.executable).with_name("clickstream"))
PROJECT = "shop"


@dataclass
class Pipeline:
    """A lake and a warehouse in a directory."""

    directory: Path

    def process(self, collector: RunningCollector, *apps: str) -> dict[str, int]:
        """Stop the collector, process what it has shipped; give the counters."""
        collector.stop()
        output = self._run(
            *("process", "--source", str(collector.sink)),
            *(part for app in apps for part in ("--app-id", app)),
        )
        return json.loads(output.splitlines()[-1])

    def model(self) -> None:
        """Build the models."""
        self._run("model", "--warehouse", str(self._warehouse))

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Give the rows of a query on the project's models, by column."""
        with duckdb.connect(str(self._warehouse), read_only=True) as connection:
            connection.execute(f"set timezone = 'UTC'; use {PROJECT}")
            answer = connection.execute(sql)
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    @property
    def _warehouse(self) -> Path:
        return self.directory / "warehouse.duckdb"

    def _run(self, *arguments: str) -> str:
        lake = ("--sink", str(self.directory / "lake"), "--project-id", PROJECT)
        command = [CLICKSTREAM, *arguments, *lake]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
