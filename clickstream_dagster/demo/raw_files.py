"""The raw files that have come since the last look, without listing the others again."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickstream_dagster.batches.objects import RawObject

_HOURS = "year=*/month=*/day=*/hour=*"
# A file system's clock stands still for some milliseconds: a folder that has changed just now may
# have got another file under the same time.
_SECONDS_UNTIL_SURE = 1.0


class NewRawFiles:
    """Looks at a directory sink again and again; only hour folders that have changed are listed."""

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._listed: dict[Path, int] = {}
        self._seen: dict[Path, set[str]] = {}

    def take(self) -> list["RawObject"]:
        """Give the raw files that no call has given yet, in the order of their keys."""
        from clickstream_dagster.batches.objects import list_objects

        found: list[RawObject] = []
        for folder in sorted(self._raw.glob(_HOURS)):
            changed = folder.stat().st_mtime_ns
            if self._listed.get(folder) == changed:
                continue
            seen = self._seen.setdefault(folder, set())
            new = [one for one in list_objects(str(folder)) if one.uri not in seen]
            seen.update(one.uri for one in new)
            found += new
            if time.time_ns() - changed > _SECONDS_UNTIL_SURE * 1e9:
                self._listed[folder] = changed
        return found
