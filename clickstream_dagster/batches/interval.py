"""The processing interval as a user writes it: a fixed rate or a cron expression.

Both become a cron schedule of five fields in UTC, whose ticks are the borders of the windows.
Follows seed 000, "Execution parameters".
"""

import re

from clickstream_dagster.errors import SettingError

EXAMPLES = '"1 hour", "12 hours", "1 day", "0 */6 * * *" or "cron(0 0,12 * ? *)"'
MINUTES_AT_LEAST = 6

_RATE = re.compile(r"(?:rate\()?\s*(\d+)\s*(minute|hour|day|week)s?\s*\)?", re.IGNORECASE)
_AWS = re.compile(r"cron\((.*)\)", re.IGNORECASE)
_HIGHEST = (59, 23, 31, 12, 6)


def cron_of(interval: str) -> str:
    """Give the five cron fields of an interval.

    Takes a fixed rate (`12 hours`), five cron fields, and AWS's `cron(minutes hours day-of-month
    month day-of-week year)`, also without the month as the seed solution's guide writes it.
    Raises SettingError for anything else, and for what five fields can't say.
    """
    text = interval.strip()
    rate = _RATE.fullmatch(text)
    if rate:
        return _cron_of_rate(text, int(rate[1]), rate[2].lower())
    aws = _AWS.fullmatch(text)
    if aws:
        return _cron_of_aws(text, aws[1].split())
    if len(text.split()) == 5:
        return " ".join(text.split())
    raise SettingError(f"interval {interval!r} is neither a rate nor a cron; write {EXAMPLES}")


def _cron_of_rate(text: str, count: int, unit: str) -> str:
    if unit == "minute":
        if count < MINUTES_AT_LEAST:
            raise SettingError(
                f"interval {text!r} is too short; write {MINUTES_AT_LEAST} minutes or more"
            )
        if count < 60 and 60 % count == 0:
            return f"*/{count} * * * *"
        if count % 60 == 0:
            count, unit = count // 60, "hour"
        else:
            raise SettingError(
                f"interval {text!r} does not divide an hour; write 6, 10, 12, 15, 20 or 30 "
                "minutes, or hours"
            )
    if unit == "hour":
        if count == 1:
            return "0 * * * *"
        if 0 < count < 24 and 24 % count == 0:
            return f"0 */{count} * * *"
        if count % 24 == 0 and count:
            count, unit = count // 24, "day"
        else:
            raise SettingError(
                f"interval {text!r} does not divide a day; write 1, 2, 3, 4, 6, 8, 12 or 24 hours"
            )
    if unit == "day" and count == 7:
        count, unit = 1, "week"
    if unit == "day" and count == 1:
        return "0 0 * * *"
    if unit == "week" and count == 1:
        return "0 0 * * 1"
    raise SettingError(
        f"interval {text!r} has no place in the calendar; write 1 day, 1 week, or a cron expression"
    )


def _cron_of_aws(text: str, fields: list[str]) -> str:
    if len(fields) == 6:
        if fields.pop() not in ("*", "?"):
            raise SettingError(f"interval {text!r} names years; write * in the last field")
    elif len(fields) != 5:
        raise SettingError(
            f"interval {text!r} has {len(fields)} fields; write cron(minutes hours day-of-month "
            "month day-of-week year)"
        )
    elif "?" in fields:
        # The guide's short form leaves the month out: `cron(0 * * ? *)`.
        minutes, hours, day, *rest = fields
        if not {*rest} <= {"*", "?"}:
            raise SettingError(
                f"interval {text!r} has five fields, so its month is missing; write all six: "
                "cron(minutes hours day-of-month month day-of-week year)"
            )
        fields = [minutes, hours, day, "*", "*"]
    return " ".join(_plain(text, field, place) for place, field in enumerate(fields))


def _plain(text: str, field: str, place: int) -> str:
    if field == "?":
        return "*"
    if re.search(r"[#]|\d[LW]|^[LW]", field):
        raise SettingError(
            f"interval {text!r}: {field!r} (last day, nearest weekday or n-th weekday) can't be "
            "said in five cron fields; write days or weekdays"
        )
    if place == 4:  # AWS counts weekdays from 1 = Sunday, cron from 0
        steps = field.split("/")
        steps[0] = re.sub(r"\d", lambda day: str(int(day[0]) - 1), steps[0])
        field = "/".join(steps)
    return re.sub(
        r"(^|,)(\d+)/(\d+)", lambda step: f"{step[1]}{step[2]}-{_HIGHEST[place]}/{step[3]}", field
    )
