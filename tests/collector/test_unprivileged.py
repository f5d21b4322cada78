"""What a collector needs of its machine: no right of root, nothing to write to but its spool."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.collector.running import records_in, running_collector
from tests.served import eventually

# Everything is mounted read-only, but for what is named; then every right of root is given up.
_READ_ONLY = """
set -e
mount --make-rprivate /
for place in "$1" "$2"; do mount --bind "$place" "$place"; done
awk '{print $2}' /proc/self/mounts | while read -r place; do
  case "$place" in
    "$1"|"$2"|/proc|/proc/*|/sys|/sys/*|/dev|/dev/pts|/dev/mqueue) ;;
    *) mount -o remount,bind,ro "$place" ;;
  esac
done
shift 2
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
NAMESPACE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))


def can_mount() -> bool:
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this system lets nobody have mounts of his own")
def test_runs_without_rights_and_writes_to_its_spool_only(tmp_path: Path) -> None:
    writable = [tmp_path / "spool", tmp_path / "raw"]
    for folder in writable:
        folder.mkdir()
    before = (*NAMESPACE, "sh", "-c", _READ_ONLY, "sh", *(str(folder) for folder in writable))
    probe = [*before, "sh", "-c", f"! touch {tmp_path}/x /tmp/x /dev/shm/x && touch $0/x"]
    done = subprocess.run([*probe, str(writable[0])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Read-only file system") == 3
    assert not (tmp_path / "x").exists()

    with running_collector(tmp_path, "--segment-seconds", "1", workers=2, before=before) as it:
        status = Path(f"/proc/{it.process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        for _ in range(10):
            assert it.send(b'[{"event_id": "e1"}]').status == 200
        eventually(lambda: "requests_total" in it.metrics(), 20, it.metrics)
        assert it.stop() == 0
    assert len(records_in(it.sink)) == 10
    assert not list(it.spool.glob("metrics-*"))
