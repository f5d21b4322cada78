"""Keys of raw objects spread evenly over some days, computed from their place in the order."""

from dataclasses import dataclass

from clickstream_dagster.batches.windows import hour_folder

DAYS = 30
_SECONDS = DAYS * 86_400


@dataclass(frozen=True, slots=True)
class RawKeys:
    """`count` keys over the 30 days before `end_seconds` (Unix), in the order of their names."""

    count: int
    end_seconds: int

    def __getitem__(self, place: int) -> str:
        seconds = self.end_seconds - _SECONDS + place * _SECONDS // self.count
        return f"{hour_folder(seconds * 1000)}{seconds}-{place:08x}.log.gz"

    def place_behind(self, key: str) -> int:
        """Give the place of the first key behind another one."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self[middle] > key else (middle + 1, high)
        return low
