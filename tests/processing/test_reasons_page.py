"""The page on bad records names every reason there is, and says truly which can be replayed."""

import re
from pathlib import Path

from clickstream_dagster.processing.bad_reasons import BadReason
from clickstream_dagster.processing.bad_records import NOT_REPLAYED

PAGE = Path(__file__).parents[2] / "docs" / "bad-records.md"


def test_the_table_has_each_reason_once_and_whether_it_is_replayed() -> None:
    told: dict[str, bool] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            for reason in re.findall(r"`(\w+)`", cells[0]):
                assert reason not in told
                told[reason] = {"yes": True, "no": False}[cells[3]]
    assert told == {reason.value: reason not in NOT_REPLAYED for reason in BadReason}
