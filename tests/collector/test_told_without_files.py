"""A container has no files of its own: what is told in their place, and what no error tells."""

import json
import subprocess
from pathlib import Path

import pytest

from clickstream_dagster.collector.access import key_hash, key_hashes
from clickstream_dagster.errors import SettingError
from tests.collector.running import CLICKSTREAM


def refused(tmp_path: Path, *options: str) -> str:
    """Give what a collector says that does not start."""
    ended = subprocess.run(
        [
            *(CLICKSTREAM, "collector", "--project-id", "shop", "--spool", str(tmp_path / "spool")),
            *("--any-app", *options),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode != 0
    return ended.stderr


def test_sink_settings_in_braces_are_read_as_those_of_a_file(tmp_path) -> None:
    said = refused(
        tmp_path,
        *("--sink", "kafka://127.0.0.1:9/shop"),
        *("--sink-settings", '{"kafka":{"security":"none"}}'),
    )
    assert "sink settings of --sink-settings: kafka.security" in said
    said = refused(tmp_path, "--sink", "kafka://127.0.0.1:9/shop", "--sink-settings", "{kafka")
    assert "sink settings of --sink-settings" in said


def test_write_keys_are_read_as_yaml_and_as_json() -> None:
    key = "k" * 32
    expected = {"shop_web": key_hash(key)}
    assert key_hashes(f'shop_web: "{key}"\n', "it") == expected
    assert key_hashes(json.dumps({"shop_web": key}), "it") == expected
    assert key_hashes("", "it") == {}


@pytest.mark.parametrize(
    "text", ['shop_web: "secret-secret', "a: b: secret-secret", "[secret-secret"]
)
def test_an_error_of_write_keys_has_no_key_in_it(text: str) -> None:
    with pytest.raises(SettingError, match="write keys in it: this is no YAML") as caught:
        key_hashes(text, "it")
    assert "secret-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
