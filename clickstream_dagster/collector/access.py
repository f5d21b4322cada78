"""Who may send: registered apps, their write keys, pages' origins. It changes without a restart."""

import hashlib
import hmac
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from clickstream_dagster.collector.origins import Origins
from clickstream_dagster.errors import SettingError
from clickstream_dagster.ids import APP_ID, APP_ID_RULE

MIN_KEY_CHARACTERS = 16

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """Apps that may send, and how.

    `key_hashes` has `key_hash` of an app's write key; an app without one needs none. `origins` are
    entries of `origins.Origins`. Raises SettingError for an id or an origin that is none.
    """

    app_ids: tuple[str, ...]
    key_hashes: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for app_id in (*self.app_ids, *self.key_hashes):
            if not APP_ID.fullmatch(app_id):
                raise SettingError(f"app id {app_id!r}: write {APP_ID_RULE}")
        Origins(self.origins)
        for app_id in self.key_hashes:
            if app_id not in self.app_ids:
                raise SettingError(f"a write key is for {app_id!r}, which is no app of the project")

    def accepts_key(self, app_id: str, key: str | None) -> bool:
        """Give whether a request of an app comes with the app's key, if the app has one."""
        expected = self.key_hashes.get(app_id)
        if expected is None:
            return True
        return key is not None and hmac.compare_digest(key_hash(key), expected)


def key_hash(key: str) -> str:
    """Give what is kept of a write key. Keys are long and random: no salt is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key_hashes(file: Path) -> dict[str, str]:
    """Read the write keys of a YAML file, `app: key`, as hashes by app.

    Raises SettingError when it can't be read, or a key is no text of at least 16 characters.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"write keys in {file}: {error}") from error
    return key_hashes(text, str(file))


def key_hashes(text: str, where: str) -> dict[str, str]:
    """Give the hashes of write keys by app, of YAML or JSON as `read_key_hashes` reads it.

    `where` names the text in errors, which tell nothing of it.
    """
    try:
        keys = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""  # the error's own text has keys in it
        raise SettingError(f"write keys in {where}: this is no YAML{line}") from None
    if not isinstance(keys, dict):
        raise SettingError(f"write keys in {where}: write lines as `shop_web: <key>`")
    for app_id, key in keys.items():
        if not isinstance(key, str) or len(key) < MIN_KEY_CHARACTERS:
            raise SettingError(
                f"write keys in {where}: the key of {app_id} has to be a text of at least "
                f"{MIN_KEY_CHARACTERS} characters, in quotes"
            )
    return {str(app_id): key_hash(key) for app_id, key in keys.items()}


class AccessFile:
    """The access that the workers of a spool follow; one process writes it, each worker reads it.

    It holds hashes of keys, not keys.
    """

    def __init__(self, spool: Path) -> None:
        self._path = spool / "access.json"
        self._seen: tuple[int, int] | None = None

    def write(self, access: Access) -> None:
        """Put another access in the place of the old one, whole.

        Collectors of several machines may do so at the same time.
        """
        handle, fresh = tempfile.mkstemp(prefix="access-", dir=self._path.parent)
        with open(handle, "w") as file:
            json.dump(asdict(access), file)
        os.replace(fresh, self._path)

    def changed(self) -> Access | None:
        """Give the access if it is another one than at the last call."""
        try:
            state = self._path.stat()
            if self._seen == (state.st_mtime_ns, state.st_ino):
                return None
            read = json.loads(self._path.read_text())
        except (OSError, ValueError) as error:
            _logger.error("the access can't be read", extra={"error": str(error)})
            return None
        self._seen = (state.st_mtime_ns, state.st_ino)
        return Access(tuple(read["app_ids"]), read["key_hashes"], tuple(read["origins"]))
