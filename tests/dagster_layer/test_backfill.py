"""`clickstream backfill` names its windows by date or partition, and says what it needs."""

import pytest
from typer.testing import CliRunner

from clickstream_dagster.backfill import BackfillError, windows_between
from clickstream_dagster.cli import app

HALF_DAYS = [f"2026-01-{day:02}-{hour}:00" for day in range(1, 8) for hour in ("00", "12")]
DAYS = [f"2026-01-{day:02}" for day in range(1, 8)]


@pytest.mark.parametrize(
    ("partitions", "first", "last", "windows"),
    [
        (HALF_DAYS, "2026-01-02", "2026-01-03", HALF_DAYS[2:6]),
        (HALF_DAYS, "2026-01-02-12:00", "2026-01-02-12:00", HALF_DAYS[3:4]),
        (HALF_DAYS, "2026-01-02T12:00", "2026-01-03T00:00", HALF_DAYS[3:5]),
        (DAYS, "2026-01-02", "2026-01-03", DAYS[1:3]),
        (DAYS, "2026-01", "2026-01", DAYS),
    ],
)
def test_a_date_means_all_windows_of_the_day(partitions, first, last, windows):
    assert windows_between(partitions, first, last) == tuple(windows)


def test_a_range_without_windows_tells_those_there_are():
    with pytest.raises(BackfillError, match="the project has 2026-01-01 to 2026-01-07"):
        windows_between(DAYS, "2026-02-01", "2026-02-03")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://127.0.0.1:port"])
def test_without_a_dagster_it_says_how_to_start_one(url):
    days = ["--from", "2026-01-01", "--to", "2026-01-02"]
    result = CliRunner().invoke(app, ["backfill", "demo", *days, "--url", url])
    assert result.exit_code == 1
    assert f"no Dagster answers at {url}" in result.output
    assert "clickstream ui" in result.output
