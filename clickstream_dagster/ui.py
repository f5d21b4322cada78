"""`clickstream ui`: Dagster's UI and daemon on the embedded deployment."""

import os
import signal
import sys
from pathlib import Path

from clickstream_dagster import deployment


def ui_command(host: str, port: int) -> list[str]:
    """Give the command that starts UI, daemon and code location."""
    dagster = Path(sys.executable).with_name("dagster")
    folder = deployment.checkout()
    target = (
        ["-w", str(folder / "workspace.yaml")]
        if folder
        else ["-m", "clickstream_dagster.definitions"]
    )
    return [str(dagster), "dev", *target, "--host", host, "--port", str(port)]


def open_ui(host: str, port: int) -> None:
    """Become Dagster: replaces this process, so that an interrupt reaches it."""
    deployment.dagster_home()
    # What a script puts in the background ignores interrupts; Dagster would then take no signal to
    # end, and its daemon would go on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    environment = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
    command = ui_command(host, port)
    os.chdir(deployment.root())
    os.execve(command[0], command, environment)
