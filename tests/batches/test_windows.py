"""The time in an object's key decides about its window."""

from datetime import UTC, datetime

import pytest

from clickstream_dagster.batches.windows import Window, hour_folder, key_day, key_time_ms

ARRIVAL = 1_700_000_000_000
HOUR = 1_795_248_000_000  # 2026-11-21 08:00 UTC


@pytest.mark.parametrize(
    ("key", "time"),
    [
        ("year=2026/month=11/day=21/hour=08/1795251599-7f.log.gz", HOUR + 3_599_000),
        ("year=2026/month=11/day=21/hour=08/1795251599123-7f.log.gz", HOUR + 3_599_123),
        ("year=2026/month=11/day=21/hour=08/7f1c.gz", HOUR),
        ("topic/year=2026/month=11/day=21/hour=08/topic+0+000.json.gz", HOUR),
        ("year=2026/month=11/day=21/7f1c.gz", HOUR - 8 * 3_600_000),
        ("1795248000-7f.log.gz", HOUR),
        ("year=2026/month=13/day=21/hour=08/7f1c.gz", ARRIVAL),
        ("upload.gz", ARRIVAL),
        ("12345678901234567.gz", ARRIVAL),
    ],
)
def test_seconds_in_the_name_come_before_the_folder_and_the_folder_before_the_arrival(key, time):
    assert key_time_ms(key, ARRIVAL) == time


def test_the_hour_folder_is_the_collectors():
    assert hour_folder(HOUR) == "year=2026/month=11/day=21/hour=08/"


def test_a_key_outside_day_folders_has_no_day():
    assert key_day("year=2026/month=11/day=21/hour=08/a.gz") == "2026-11-21"
    assert key_day("a.gz") == "other"


def test_batch_names_sort_by_time_and_suit_a_path():
    first = Window(datetime(2026, 11, 9, 23, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC))
    second = Window(datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 10, 1, tzinfo=UTC))
    assert first.batch == "20261109T2300Z"
    assert first.batch < second.batch
