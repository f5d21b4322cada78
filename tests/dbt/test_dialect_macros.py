"""The macros of dialect/events.sql give what their documentation says, on each engine.

dbt compiles the questions of an engine in this process; what comes out is run there: on DuckDB, on
the double of Redshift (tests/redshift/engine.py), on a real Trino for Athena.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt_common.exceptions import DbtRuntimeError

from clickstream_dagster.processing.lake import Lake
from clickstream_dagster.resources.dbt import dbt_environment, dbt_project_dir, dbt_settings
from tests.dbt.model_input import PROJECT, arrow, event, ms
from tests.redshift.engine import Engine

BETWEEN = "\n-- next question\n"
LAKE = '{{ source("lake", "ods_event") }}'
# On Redshift the parameters are columns, which `lake_events` joins.
EVENTS = (
    '{{ lake_events({"bounded": false}) if target.type == "redshift"'
    ' else source("lake", "ods_event") }}'
)


@dataclass(frozen=True)
class Differs:
    """An answer that is another one on an engine, by design: `why` says the reason."""

    why: str
    elsewhere: Any
    redshift: Any


@dataclass(frozen=True)
class Question:
    """A query whose rows begin with the name of a case, and the rows behind each name."""

    name: str
    sql: str
    answers: Mapping[str, list[tuple[Any, ...]] | Differs]
    zone: str = "UTC"


def about(
    call: str,
    types: tuple[str, ...],
    cases: Iterable[tuple[Any, ...]],
    zone: str = "UTC",
) -> Question:
    """Ask for a call on the columns `a` and `b`; a case has a value for each, and the answer."""
    answers: dict[str, list[tuple[Any, ...]] | Differs] = {}
    given = []
    for number, (*values, answer) in enumerate(cases):
        name = f"{number}: {', '.join(map(str, values))}"
        columns = [
            f"cast({literal(value)} as {type_}) as {column}"
            for column, type_, value in zip("ab", types, values, strict=False)
        ]
        given.append(f"select cast({literal(name)} as varchar) as name, {', '.join(columns)}")
        answers[name] = answer if isinstance(answer, Differs) else [(answer,)]
    rows = " union all ".join(given)
    return Question(
        f"{call} of {', '.join(types)}, {zone}",
        f"select name, {{{{ {call} }}}} as answer from ({rows}) as given",
        answers,
        zone,
    )


def literal(value: object) -> str:
    """Give a value in SQL."""
    if value is None:
        return "null"
    return "'{}'".format(value.replace("'", "''")) if isinstance(value, str) else str(value)


# Events, each with the parameters, the device and so on of one case.

QUOTED, ACCENTED, SLASHED = 'it\'s "x"', "größe 大", "a\\b\\"
# Redshift reads the text of these parameters alone.
VIEW_EVENTS = {"e1": "k", "e2": QUOTED, "e3": ACCENTED, "e4": SLASHED, "e5": "never sent"}
PARAMS: dict[str, list[tuple[str, Any]] | None] = {
    "text": [("k", "x")],
    "empty text": [("k", "")],
    "null": [("k", None)],
    "no value": [],
    "no list": None,
    "sent twice": [("k", "first"), ("other", "between"), ("k", "second")],
    "the first one is a number": [("k", 1), ("k", "second")],
    "the first one is null": [("k", None), ("k", "second")],
    "a number": [("k", 7), ("_session_duration", 7)],
    "number as text": [("_session_duration", "7")],
    "number sent twice": [("_session_duration", -(2**63)), ("_session_duration", 2**63 - 1)],
    "a double": [("k", 0.5), ("_session_duration", 0.5)],
    "a float": [("k", {"float_value": 0.25})],
    "odd keys": [(QUOTED, "quoted"), (ACCENTED, "accented"), (SLASHED, "it's \\ 大")],
    "upper case": [("K", "upper")],
    "all types": [
        ("k", {"string_value": "s", "int_value": 1, "float_value": 0.5, "double_value": 2.5})
    ],
    "empty text and a number": [("k", {"string_value": "", "int_value": 5, "double_value": 0.5})],
    "float and double": [("k", {"float_value": 0.1, "double_value": 2.5})],
    "zero": [("k", 0)],
    "least integer": [("k", -(2**63))],
    "large double": [("k", -1e20)],
    "whole double": [("k", 1.0)],
    "quotes": [("k", 'it\'s "\\" 大')],
}
DEVICES: dict[str, dict[str, Any]] = {
    "text": {
        "device": {"carrier": 'it\'s "大"', "screen_width": 2**63 - 1},
        "user_ltv": {"revenue": 0.1},
    },
    "empty text": {"device": {"carrier": "", "screen_width": 0}, "user_ltv": {"revenue": -0.5}},
    "null": {"device": {"carrier": None, "screen_width": None}, "user_ltv": {"revenue": None}},
    "no value": {"device": None, "user_ltv": None},
    "wide": {
        "device": {"carrier": "x" * 300, "screen_width": -1},
        "user_ltv": {"revenue": 1e20},
    },
}


def events() -> list[dict[str, Any]]:
    """The events of all cases; their ids are the names of the cases."""
    time = "2024-05-01 10:00"
    return [
        *(
            event("params", time, name, session=None, params=pairs or (), batch="b1")
            | ({"event_params": None} if pairs is None else {})
            for name, pairs in PARAMS.items()
        ),
        *(event("device", time, name, app="devices", **f) for name, f in DEVICES.items()),
    ]


def parameter(key: str, type_: str, **known: Any) -> Question:
    """Ask for a parameter of all events; those that are not `known` lack it."""
    found = {name.replace("_", " "): value for name, value in known.items()}
    return Question(
        f"event_param {key} {type_}",
        f"select event_id, {{{{ event_param({json.dumps(key)}, '{type_}') }}}} as answer"
        f" from {EVENTS} as e where event_name = 'params'",
        {name: [(found.get(name),)] for name in PARAMS},
    )


EVENT_PARAM = [
    parameter(
        "k",
        "string",
        text="x",
        empty_text="",
        sent_twice="first",
        all_types="s",
        empty_text_and_a_number="",
        quotes='it\'s "\\" 大',
    ),
    parameter(QUOTED, "string", odd_keys="quoted"),
    parameter(ACCENTED, "string", odd_keys="accented"),
    parameter(SLASHED, "string", odd_keys="it's \\ 大"),
    parameter("never sent", "string"),
    parameter("_session_duration", "int", a_number=7, number_sent_twice=-(2**63)),
]

# The event base of Redshift reads text and integers only.
FLOATING = [
    parameter(
        "k",
        "double",
        a_double=0.5,
        all_types=2.5,
        empty_text_and_a_number=0.5,
        float_and_double=2.5,
        large_double=-1e20,
        whole_double=1.0,
    ),
    parameter(
        "k",
        "float",
        a_float=0.25,
        all_types=0.5,
        float_and_double=pytest.approx(0.1),
    ),
]

WITH_PARAMS = Question(
    "with_params",
    "select event_id, {{ event_param('k', 'string') }} as answer"
    " from {{ with_params(source('lake', 'ods_event'), [('k', 'string')], ['params']) }} as e"
    " where event_name = 'params'",
    EVENT_PARAM[0].answers,
)

NESTED = [
    Question(
        f"nested {path}",
        f"select event_id, {{{{ nested('e.{path}', '{type_}') }}}} as answer"
        f" from {LAKE} as e where event_name = 'device'",
        {name: [(answer,)] for name, answer in zip(DEVICES, answers, strict=True)},
    )
    for path, type_, answers in [
        ("device.carrier", "string", ['it\'s "大"', "", None, None, "x" * 300]),
        ("device.screen_width", "int", [2**63 - 1, 0, None, None, -1]),
        ("user_ltv.revenue", "double", [0.1, -0.5, None, None, 1e20]),
    ]
]

UNNESTED = [
    Question(
        "unnested",
        "select e.event_id, {{ nested('e.item.key', 'string') }} as item_key,"
        " {{ nested('e.item.value.string_value', 'string') }} as text,"
        " {{ nested('e.item.value.int_value', 'int') }} as number,"
        " {{ nested('e.item.value.float_value', 'float') }} as single,"
        " e.app_id"
        " from {{ unnested(source('lake', 'ods_event'), 'event_params') }} as e"
        " where e.event_name = 'params'",
        {
            "no list": [],
            "no value": [],
            "null": [("k", None, None, None, "shop")],
            "empty text": [("k", "", None, None, "shop")],
            "sent twice": [
                ("k", "first", None, None, "shop"),
                ("k", "second", None, None, "shop"),
                ("other", "between", None, None, "shop"),
            ],
            "a float": [("k", None, None, 0.25, "shop")],
            "number as text": [("_session_duration", "7", None, None, "shop")],
            "odd keys": [
                (SLASHED, "it's \\ 大", None, None, "shop"),
                (ACCENTED, "accented", None, None, "shop"),
                (QUOTED, "quoted", None, None, "shop"),
            ],
        },
    )
]

VALUE_TEXT = [
    Question(
        "value_text",
        "select e.event_id, {{ value_text('e.item.value') }} as answer"
        " from {{ unnested(source('lake', 'ods_event'), 'event_params') }} as e"
        " where e.event_name = 'params'",
        {
            name: [(answer,)]
            for name, answer in {
                "text": "x",
                "empty text": None,
                "null": None,
                "a float": "0.25",
                "all types": "s",
                "empty text and a number": "5",
                "float and double": "0.1",
                "zero": "0",
                "least integer": "-9223372036854775808",
                "large double": "-1e+20",
                "whole double": "1.0",
                "quotes": 'it\'s "\\" 大',
            }.items()
        },
    )
]

NO_SIGN = "made by way of an integer, which has no negative zero"
NUMBER_TEXT = [
    about(
        "number_text('a')",
        ("double precision",),
        [
            (None, None),
            ("0.1", "0.1"),
            ("-0.1", "-0.1"),
            ("1.0", "1.0"),
            ("-1.0", "-1.0"),
            ("0.0", "0.0"),
            ("-0.0", Differs(NO_SIGN, elsewhere=[("-0.0",)], redshift=[("0.0",)])),
            ("0.001", "0.001"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("0.000000125", "1.25e-07"),
            ("9999999.0", "9999999.0"),
            ("10000000.0", "10000000.0"),
            ("-12345678.5", "-12345678.5"),
            ("999999999999999.0", "999999999999999.0"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1e20", "1e+20"),
            ("-1.5e300", "-1.5e+300"),
            ("2.5e-308", "2.5e-308"),
        ],
    ),
    about(
        "number_text('a')",
        ("real",),
        [
            (None, None),
            ("0.1", "0.1"),
            ("-0.1", "-0.1"),
            ("1.0", "1.0"),
            ("16777216.0", "16777216.0"),
            ("0.0000025", "2.5e-06"),
            ("1e20", "1e+20"),
        ],
    ),
]

INT32 = [
    about(
        "int32('a')",
        ("bigint",),
        [
            (None, None),
            (0, 0),
            (-1, -1),
            (2**31 - 1, 2**31 - 1),
            (2**31, None),
            (-(2**31), -(2**31)),
            (-(2**31) - 1, None),
            (2**63 - 1, None),
            (-(2**63) + 1, None),
        ],
    )
]

SAME = [
    about(
        "same('a', 'b')",
        ("varchar(100)", "varchar(100)"),
        [
            (None, None, True),
            (None, "", False),
            ("", None, False),
            ("", "", True),
            ("a", "a", True),
            ("a", "b", False),
            ("a", "A", False),
            ("a", None, False),
            (None, ".", False),
            ("", ".", False),
            ("a", "a ", False),
            ("", " ", False),
            ("größe 大", "größe 大", True),
            ("it's", "it's", True),
            ("null", None, False),
        ],
    ),
    about(
        "same('a', 'b')",
        ("date", "date"),
        [
            (None, None, True),
            ("2024-12-31", "2024-12-31", True),
            ("2024-12-31", "2025-01-01", False),
            ("2024-12-31", None, False),
        ],
    ),
]

LAST_MS = 253402300799999  # of the year 9999
CUT = "fractions of a second are cut: times are only read by the hour"
MS_TO_TIMESTAMP = [
    about(
        "ms_to_timestamp('a')",
        ("bigint",),
        [
            (None, None),
            (0, datetime(1970, 1, 1)),
            (ms("2024-02-29 12:00"), datetime(2024, 2, 29, 12)),
            (
                ms("2024-12-31 23:59:59") + 999,
                Differs(
                    CUT,
                    elsewhere=[(datetime(2024, 12, 31, 23, 59, 59, 999000),)],
                    redshift=[(datetime(2024, 12, 31, 23, 59, 59),)],
                ),
            ),
            (-1000, datetime(1969, 12, 31, 23, 59, 59)),
            (
                -1,
                Differs(
                    CUT,
                    elsewhere=[(datetime(1969, 12, 31, 23, 59, 59, 999000),)],
                    redshift=[(datetime(1969, 12, 31, 23, 59, 59),)],
                ),
            ),
            (ms("1900-03-01 00:00"), datetime(1900, 3, 1)),
            (LAST_MS - 999, datetime(9999, 12, 31, 23, 59, 59)),
        ],
    )
]

NOW = Question(
    "now_in_utc",
    "select 'within the hours of a test', case when {{ now_in_utc() }} between"
    f" timestamp '{datetime.now(UTC) - timedelta(minutes=1):%F %T}'"
    f" and timestamp '{datetime.now(UTC) + timedelta(hours=6):%F %T}' then 1 else 0 end",
    {"within the hours of a test": [(1,)]},
)

LOCAL_TIME = [
    about(f"local_time('a', '{zone}')", ("timestamp",), cases)
    for zone, cases in {
        "Europe/Berlin": [
            (None, None),
            ("1970-01-01 00:00:00", datetime(1970, 1, 1, 1)),
            ("2024-07-01 12:00:00", datetime(2024, 7, 1, 14)),
            ("2024-12-31 22:59:59", datetime(2024, 12, 31, 23, 59, 59)),
            ("2024-12-31 23:00:00", datetime(2025, 1, 1)),
            # A day of 23 hours, one of 25.
            ("2024-03-30 23:00:00", datetime(2024, 3, 31)),
            ("2024-03-31 00:59:59", datetime(2024, 3, 31, 1, 59, 59)),
            ("2024-03-31 01:00:00", datetime(2024, 3, 31, 3)),
            ("2024-03-31 22:00:00", datetime(2024, 4, 1)),
            ("2024-10-26 22:00:00", datetime(2024, 10, 27)),
            ("2024-10-27 00:30:00", datetime(2024, 10, 27, 2, 30)),
            ("2024-10-27 01:30:00", datetime(2024, 10, 27, 2, 30)),
            ("2024-10-27 23:00:00", datetime(2024, 10, 28)),
        ],
        "Asia/Kolkata": [
            ("1970-01-01 00:00:00", datetime(1970, 1, 1, 5, 30)),
            ("2024-12-31 18:29:59", datetime(2024, 12, 31, 23, 59, 59)),
            ("2024-12-31 18:30:00", datetime(2025, 1, 1)),
        ],
        "America/St_Johns": [
            ("2024-01-01 03:29:59", datetime(2023, 12, 31, 23, 59, 59)),
            ("2024-07-01 02:30:00", datetime(2024, 7, 1)),
        ],
        "UTC": [("2024-12-31 23:59:59", datetime(2024, 12, 31, 23, 59, 59))],
    }.items()
]

OUTSIDE = [(None, None), (-1, None), (-(2**63) + 1, None), (2**63 - 1, None), (LAST_MS + 1, None)]
MS_TRUNC = [
    about(f"ms_trunc('{unit}', 'a')", ("bigint",), [*OUTSIDE, *cases], zone)
    for zone, unit, cases in [
        (
            "UTC",
            "day",
            [
                (0, datetime(1970, 1, 1)),
                (ms("2024-12-31 23:59:59") + 999, datetime(2024, 12, 31)),
                (ms("2025-01-01 00:00"), datetime(2025, 1, 1)),
                (LAST_MS, datetime(9999, 12, 31)),
            ],
        ),
        (
            "UTC",
            "hour",
            [
                (ms("2024-12-31 23:59:59") + 999, datetime(2024, 12, 31, 23)),
                (ms("2025-01-01 00:00"), datetime(2025, 1, 1)),
                (LAST_MS, datetime(9999, 12, 31, 23)),
            ],
        ),
        (
            "Europe/Berlin",
            "day",
            [
                (0, datetime(1970, 1, 1)),
                (ms("2024-12-31 22:59:59") + 999, datetime(2024, 12, 31)),
                (ms("2024-12-31 23:00"), datetime(2025, 1, 1)),
                (ms("2024-03-30 23:00"), datetime(2024, 3, 31)),
                (ms("2024-03-31 21:59:59"), datetime(2024, 3, 31)),
                (ms("2024-03-31 22:00"), datetime(2024, 4, 1)),
                (ms("2024-10-26 22:00"), datetime(2024, 10, 27)),
                (ms("2024-10-27 22:59:59"), datetime(2024, 10, 27)),
                (ms("2024-10-27 23:00"), datetime(2024, 10, 28)),
                (LAST_MS, None),  # the year 10000 there
            ],
        ),
        (
            "Europe/Berlin",
            "hour",
            [
                (0, datetime(1970, 1, 1, 1)),
                (ms("2024-03-31 00:59:59"), datetime(2024, 3, 31, 1)),
                (ms("2024-03-31 01:00"), datetime(2024, 3, 31, 3)),
                (ms("2024-10-27 00:30"), datetime(2024, 10, 27, 2)),
                (ms("2024-10-27 01:30"), datetime(2024, 10, 27, 2)),
                (ms("2024-10-27 02:00"), datetime(2024, 10, 27, 3)),
            ],
        ),
        (
            "Asia/Kolkata",
            "hour",
            [
                (ms("2024-12-31 18:29:59"), datetime(2024, 12, 31, 23)),
                (ms("2024-12-31 18:30"), datetime(2025, 1, 1)),
                (ms("2025-01-01 00:29:59"), datetime(2025, 1, 1, 5)),
                (ms("2025-01-01 00:30"), datetime(2025, 1, 1, 6)),
            ],
        ),
    ]
]

# Case, time, id, value, and whether the row is among those that are chosen.
VALUES = [
    ("equal times go by the id", 1, "b", "x", 1),
    ("equal times go by the id", 1, "a", "y", 0),
    ("equal times go by the id", 2, "c", "z", 0),
    ("null is a value", 1, "a", None, 1),
    ("null is a value", 2, "b", "x", 1),
    ("null is a value", 3, "c", None, 1),
    ("none is chosen", 1, "a", "x", 0),
    ("others lie between", 1, "a", "x", 1),
    ("others lie between", 2, "b", "y", 0),
    ("others lie between", 3, "c", "z", 1),
]
GIVEN = " union all ".join(
    f"select {literal(name)} as name, {time} as time_of, {literal(id_)} as id,"
    f" cast({literal(text)} as varchar) as a_text, {chosen} as chosen"
    for name, time, id_, text, chosen in VALUES
)
VALUE_AT = Question(
    "value_at",
    """
    {%- set order = ["time_of", "id"] %}
    {%- set among = "chosen = 1" %}
    select
        name,
        {{ value_at("a_text", "nth", order) }} as opening,
        {{ value_at("a_text", "nth_last", order, last=true) }} as ending,
        {{ value_at("a_text", "nth_chosen", order, among=among) }} as first_chosen,
        {{ value_at("a_text", "nth_last_chosen", order, last=true, among=among) }} as last_chosen
    from (
        select
            *
            {{ numbered("nth", ["name"], order) }}
            {{ numbered("nth_last", ["name"], order, last=true) }}
            {{ numbered("nth_chosen", ["name", "chosen"], order) }}
            {{ numbered("nth_last_chosen", ["name", "chosen"], order, last=true) }}
        from (GIVEN) as given
    ) as numbered
    group by name""".replace("GIVEN", GIVEN),
    {
        "equal times go by the id": [("y", "z", "x", "x")],
        "null is a value": [(None, None, None, None)],
        "none is chosen": [("x", "x", None, None)],
        "others lie between": [("x", "z", "x", "z")],
    },
)

NEXT_AMONG = Question(
    "next_among",
    """
    {%- set order = ["time_of", "id"] %}
    select
        name,
        id,
        case
            when chosen = 1 then {{ next_among("a_text", "chosen", ["name"], order) }}
            else 'not chosen'
        end as next_chosen
    from (GIVEN) as given""".replace("GIVEN", GIVEN),
    {
        "equal times go by the id": [("a", "not chosen"), ("b", None), ("c", "not chosen")],
        "null is a value": [("a", "x"), ("b", None), ("c", None)],
        "none is chosen": [("a", "not chosen")],
        "others lie between": [("a", "z"), ("b", "not chosen"), ("c", None)],
    },
)

LAST_ROWS = Question(
    "last_rows",
    """
    with given as (GIVEN)
    select name, time_of, a_text
    from {{ last_rows("given", ["name"], ["time_of", "a_text"], ["time_of", "id"]) }} as r
    """.replace("GIVEN", GIVEN),
    {
        "equal times go by the id": [(2, "z")],
        "null is a value": [(3, None)],
        "none is chosen": [(1, "x")],
        "others lie between": [(3, "z")],
    },
)

QUESTIONS = [
    *(*EVENT_PARAM, WITH_PARAMS, *NESTED, *UNNESTED, *VALUE_TEXT, *NUMBER_TEXT),
    *(*INT32, *SAME, *MS_TO_TIMESTAMP, *LOCAL_TIME, *MS_TRUNC),
    *(VALUE_AT, NEXT_AMONG, LAST_ROWS, NOW),
]


@dataclass
class Dialect:
    """An engine with the events, and dbt with its target; `settings` tell dbt what it needs."""

    target: str
    run: Callable[[str], list[Any]]
    scratch: Path
    project: str
    settings: Mapping[str, str] = field(default_factory=dict)
    manifest: Any = None
    sql: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[Any]] = field(default_factory=dict)

    def rows(self, question: Question) -> list[Any]:
        """Give the rows of a question. Those of one zone are compiled together."""
        if question.name not in self.sql:
            asked = [q for q in QUESTIONS if q.zone == question.zone]
            texts = self.compiled(BETWEEN.join(q.sql for q in asked), question.zone)
            self.sql |= zip((q.name for q in asked), texts.split(BETWEEN), strict=True)
        if question.name not in self.answers:
            self.answers[question.name] = self.run(self.sql[question.name])
        return self.answers[question.name]

    def compiled(self, text: str, zone: str = "UTC") -> str:
        """Give a text with its macros replaced."""
        return self.compile(text, zone).node.compiled_code

    def compile(self, text: str, zone: str = "UTC") -> Any:
        """Compile a text without a look at the warehouse; the project is parsed but once."""
        self.manifest = self.manifest or self._dbt(zone, "parse").result
        # What did not compile stays there, and dbt would call the next one a duplicate.
        self.manifest.nodes.pop("sql_operation.clickstream.inline_query", None)
        arguments = ("compile", "--no-introspect", "--no-populate-cache", "--inline", text)
        return self._dbt(zone, *arguments, manifest=self.manifest).result.results[0]

    def _dbt(self, zone: str, *arguments: str, manifest: Any = None) -> dbtRunnerResult:
        settings = {
            **dbt_settings(self.scratch),
            "CLICKSTREAM_PROJECT": self.project,
            **self.settings,
        }
        values = {"time_zone": zone, "view_events": VIEW_EVENTS}
        quiet = ("--quiet", "--log-level-file", "none", "--no-write-json")
        with dbt_environment(settings):
            result = dbtRunner(manifest).invoke(
                [*arguments, "--target", self.target, "--vars", json.dumps(values), *quiet]
            )
        if result.exception is not None:
            raise result.exception
        return result


def on_duckdb(request: pytest.FixtureRequest, scratch: Path) -> Dialect:
    """DuckDB with a table in the place of the lake."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    rows = arrow(events())
    connection.register("rows", rows)
    connection.execute(f"create schema {PROJECT}_lake")
    connection.execute(f"create table {PROJECT}_lake.ods_event as from rows")
    return Dialect("duckdb", lambda sql: connection.execute(sql).fetchall(), scratch, PROJECT)


def on_redshift(request: pytest.FixtureRequest, scratch: Path) -> Dialect:
    """The double of Redshift with the events in the loader's table."""
    engine = Engine("analytics")
    with engine.root.cursor() as cursor:
        cursor.register("rows", arrow(events()))
        cursor.execute(f"create schema analytics.{PROJECT}")
        cursor.execute(f"create table analytics.{PROJECT}.ods_event as from rows")
    settings = {"CLICKSTREAM_REDSHIFT_DATABASE": engine.database}
    session = engine.session()
    return Dialect("redshift", lambda sql: session.run(sql).rows, scratch, PROJECT, settings)


def on_athena(request: pytest.FixtureRequest, scratch: Path) -> Dialect:
    """Trino on a lake of its own on S3."""
    edge = request.getfixturevalue("edge")
    project = f"macros_{uuid.uuid4().hex[:8]}"
    lake = Lake(request.getfixturevalue("make_bucket")().address("lake"), project)
    lake.table("ods_event").append(arrow(events()))

    def run(sql: str) -> list[Any]:
        statement = edge.run(sql, project)
        assert statement.error is None, f"{statement.error}\n{sql}"
        return statement.rows

    return Dialect("athena", run, scratch, project)


ENGINES = {"duckdb": on_duckdb, "redshift": on_redshift, "athena": on_athena}


@pytest.fixture(
    scope="module",
    params=["duckdb", "redshift", pytest.param("athena", marks=pytest.mark.heavy)],
)
def dialect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dialect:
    """One engine after the other; that of Athena is heavy."""
    return ENGINES[request.param](request, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(
    ("question", "case"),
    [
        pytest.param(question, case, id=f"{question.name}-{case}")
        for question in QUESTIONS
        for case in question.answers
    ],
)
def test_a_macro_gives(dialect: Dialect, question: Question, case: str) -> None:
    expected = question.answers[case]
    if isinstance(expected, Differs):
        expected = expected.redshift if dialect.target == "redshift" else expected.elsewhere
    given = [tuple(row[1:]) for row in dialect.rows(question) if row[0] == case]
    assert sorted(given, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("question", FLOATING, ids=lambda question: question.name)
def test_redshift_alone_refuses_parameters_of_floating_types(
    dialect: Dialect, question: Question
) -> None:
    if dialect.target == "redshift":
        with pytest.raises(DbtRuntimeError, match=r"add \(k, \w+\) to the macro parameters_read"):
            dialect.compiled(question.sql)
    else:
        given = {name: [(value,)] for name, value in dialect.run(dialect.compiled(question.sql))}
        assert given == question.answers


def test_partitions_are_named_on_athena_alone(dialect: Dialect) -> None:
    node = dialect.compile("select 1{{ partitioned_by('app_id', 'month(event_date)') }}").node
    assert node.compiled_code == "select 1"
    named = ["app_id", "month(event_date)"] if dialect.target == "athena" else None
    assert node.config.get("partitioned_by") == named


def test_every_public_macro_is_asked() -> None:
    text = (dbt_project_dir() / "macros" / "dialect" / "events.sql").read_text()
    public = {
        name
        for name in re.findall(r"{% macro (\w+)\(", text)
        if not name.startswith(("default__", "not_written"))
    }
    asked = " ".join(question.sql for question in QUESTIONS) + "partitioned_by("
    assert [name for name in public if f"{name}(" not in asked] == []
