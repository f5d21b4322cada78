"""The container file: its commands as they are run in it, with this machine's places put in."""

import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.collector.running import CLICKSTREAM, records_in, running_collector
from tests.served import eventually, free_port

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra" / "collector" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Give the file's instructions: name and what follows it."""
    lines = FILE.read_text().replace("\\\n", " ").splitlines()
    return [
        (name, rest.strip())
        for name, _, rest in (line.partition(" ") for line in lines)
        if name and not name.startswith("#")
    ]


def command(name: str) -> list[str]:
    """Give the words of a command that no shell reads."""
    (text,) = [rest for found, rest in instructions() if found == name]
    return json.loads(text[text.index("[") :])


def test_is_built_on_bases_that_do_not_change() -> None:
    bases = [rest for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2
    assert all(re.match(r"\S+@sha256:[0-9a-f]{64}( AS \w+)?$", base) for base in bases)


def test_copies_what_is_there() -> None:
    copied = [
        part
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for part in rest.split()[:-1]
    ]
    assert copied
    assert [part for part in copied if not (ROOT / part).exists()] == []


def test_needs_no_shell_and_no_right_of_root() -> None:
    for name, rest in instructions():
        if name in ("RUN", "ENTRYPOINT"):
            assert json.loads(rest)
    assert ("USER", "65532:65532") in instructions()
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]


def test_its_command_collects_and_drains(tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    clickstream, *words = command("ENTRYPOINT")
    assert Path(clickstream).name == Path(CLICKSTREAM).name
    here = {
        "/spool": str(tmp_path / "spool"),
        "0.0.0.0:8088": f"127.0.0.1:{port}",
        "0.0.0.0:9464": f"127.0.0.1:{metrics}",
    }
    told = ("--project-id", "shop", "--app-id", "shop_web", "--sink", str(tmp_path / "raw"))
    process = subprocess.Popen([CLICKSTREAM, *(here.get(word, word) for word in words), *told])
    try:
        eventually(lambda: health(port) == 0, 60)
        post = f"http://127.0.0.1:{port}/collect?appId=shop_web"
        send = f"import urllib.request; urllib.request.urlopen({post!r}, b'[{{}}]')"
        assert subprocess.run([sys.executable, "-c", send]).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert len(records_in(tmp_path / "raw")) == 1


def test_is_not_healthy_while_it_can_take_nothing(tmp_path: Path) -> None:
    with running_collector(tmp_path, "--min-free-mb", str(1 << 40)) as it:
        assert health(it.port) != 0


def health(port: int) -> int:
    """Do what the health check does; give its exit code."""
    _, *words = command("HEALTHCHECK")
    here = [word.replace(":8088", f":{port}") for word in words]
    return subprocess.run([sys.executable, *here], capture_output=True).returncode
