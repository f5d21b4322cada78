"""The processing interval: fixed rates and cron expressions (seed 000, "Execution parameters")."""

import pytest

from clickstream_dagster.batches.interval import cron_of
from clickstream_dagster.errors import SettingError


@pytest.mark.parametrize(
    ("interval", "cron"),
    [
        ("1 hour", "0 * * * *"),
        ("12 hours", "0 */12 * * *"),
        ("1 day", "0 0 * * *"),
        ("24 hours", "0 0 * * *"),
        ("7 days", "0 0 * * 1"),
        ("30 minutes", "*/30 * * * *"),
        ("60 minutes", "0 * * * *"),
        ("rate(12 hours)", "0 */12 * * *"),
        ("cron(0 * * ? *)", "0 * * * *"),
        ("cron(0 0,12 * ? *)", "0 0,12 * * *"),
        ("cron(0 0 * ? *)", "0 0 * * *"),
        ("cron(0 6 ? * MON-FRI *)", "0 6 * * MON-FRI"),
        ("cron(0 6 ? * 2-6 *)", "0 6 * * 1-5"),
        ("cron(0/15 * * * ? *)", "0-59/15 * * * *"),
        ("0 */6 * * *", "0 */6 * * *"),
    ],
)
def test_an_interval_becomes_five_cron_fields(interval, cron):
    assert cron_of(interval) == cron


@pytest.mark.parametrize(
    ("interval", "advice"),
    [
        ("hourly", "neither a rate nor a cron"),
        ("5 minutes", "write 6 minutes or more"),
        ("25 minutes", "does not divide an hour"),
        ("7 hours", "write 1, 2, 3, 4, 6, 8, 12 or 24 hours"),
        ("0 hours", "does not divide a day"),
        ("2 days", "write 1 day, 1 week"),
        ("cron(0 0 * 3 ?)", "month is missing"),
        ("cron(0 0 L * ? *)", "can't be said in five cron fields"),
        ("cron(0 0 ? * 6#3 *)", "can't be said in five cron fields"),
        ("cron(0 0 * * ? 2026)", "names years"),
        ("cron(0 0 *)", "has 3 fields"),
    ],
)
def test_an_interval_that_cannot_be_kept_is_refused_with_advice(interval, advice):
    with pytest.raises(SettingError, match=advice.replace("(", r"\(")):
        cron_of(interval)
