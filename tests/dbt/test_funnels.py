"""Funnels that a project declares: who gets to which step."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from clickstream_dagster.errors import SettingError
from clickstream_dagster.resources.definitions import Definitions, read_definitions
from clickstream_dagster.resources.funnels import funnels_of
from tests.dbt.conftest import Models
from tests.dbt.model_input import PROJECT, drop, event, traffic, write

FUNNELS = """
funnels:
  # The custom report of seed 000.
  - name: note
    by: platform
    steps: [user_login, add_button_click, note_create]
  - name: quick
    window_minutes: 10
    steps: [open, pay]
  - name: twice
    steps: [look, look]
  - name: chosen
    steps:
      - event: search
        where: [{parameter: word, equals: "it's; drop table x --"}]
      - event: order
        where:
          - {parameter: price, at_least: 10}
          - {parameter: price, at_most: 20.5}
          - {parameter: size, one_of: [S, M]}
"""


def steps(user: str, *found: tuple[str, str], **fields):
    return [
        event(name, f"2024-05-01 {time}", f"{user}{number}", user=user, **fields)
        for number, (name, time) in enumerate(found)
    ]


EVENTS = [
    *steps(
        "all", ("user_login", "10:00"), ("add_button_click", "10:01"), ("note_create", "10:02")
    ),
    *steps("turned", ("user_login", "10:02"), ("add_button_click", "10:01")),
    *steps("skipped", ("user_login", "10:00"), ("note_create", "10:01")),
    # The first login leads nowhere, the second one to the end.
    *steps(
        "again",
        ("user_login", "09:00"),
        ("note_create", "09:01"),
        ("user_login", "10:00"),
        ("add_button_click", "10:01"),
        ("note_create", "10:02"),
        platform="iOS",
    ),
    # Equal times: the event id decides.
    *steps("tie", ("user_login", "10:00"), ("add_button_click", "10:00"), platform="iOS"),
    # Ten minutes are within ten minutes; the window of a later start counts, too.
    *steps("edge", ("open", "10:00"), ("pay", "10:10")),
    *steps("late", ("open", "10:00"), ("pay", "10:11")),
    *steps("anew", ("open", "10:00"), ("open", "10:05"), ("pay", "10:11")),
    # No event counts for two steps.
    *steps("one", ("look", "10:00")),
    *steps("two", ("look", "10:00"), ("look", "10:00")),
    # Conditions.
    *[
        event(name, f"2024-05-01 10:0{minute}", f"{user}{minute}", user=user, params=params)
        for user, size, price in [
            ("fits", "S", 20.5), ("whole", "M", 10), ("dear", "S", 21), ("large", "L", 15),
            ("none", "S", None), ("text", "S", "15"),
        ]
        for minute, name, params in [
            (0, "search", {"word": "it's; drop table x --"}),
            (1, "order", {"size": size, "price": price}),
        ]
    ],
    *steps("other word", ("search", "10:00"), ("order", "10:01")),
    # Without a user nobody takes a step.
    event("open", "2024-05-01 10:00", "nobody", user=None),
]  # fmt: skip


@pytest.fixture(scope="module")
def models(new_models: Callable[[], Models], tmp_path_factory: pytest.TempPathFactory) -> Models:
    file = tmp_path_factory.mktemp("definitions") / "funnels.yaml"
    file.write_text(FUNNELS)
    models = new_models()
    models.definitions = read_definitions(file)
    write(models.sink, EVENTS)
    models.dbt(
        "run",
        "--select",
        *("clickstream_event_base", "clickstream_user_day_base"),
        *("clickstream_funnels", "clickstream_funnel_daily"),
    )
    return models


def funnel(models: Models, name: str) -> list[tuple]:
    columns = "dimension_value, step, event_name, user_count"
    return models.rows("clickstream_funnels", columns, f"funnel = '{name}'")


def test_the_custom_report_of_the_seed(models: Models) -> None:
    assert funnel(models, "note") == [
        ("Web", 1, "user_login", 3),
        ("Web", 2, "add_button_click", 1),
        ("Web", 3, "note_create", 1),
        ("iOS", 1, "user_login", 2),
        ("iOS", 2, "add_button_click", 2),
        ("iOS", 3, "note_create", 1),
    ]
    shares = models.rows(
        "clickstream_funnels",
        "step, share_of_first_step",
        "funnel = 'note' and dimension = 'platform' and dimension_value = 'iOS'",
    )
    assert shares == [(1, 1.0), (2, 1.0), (3, 0.5)]


def test_all_steps_are_within_the_window_of_one_first_step(models: Models) -> None:
    assert funnel(models, "quick") == [(None, 1, "open", 3), (None, 2, "pay", 2)]


def test_no_event_counts_for_two_steps(models: Models) -> None:
    assert funnel(models, "twice") == [(None, 1, "look", 2), (None, 2, "look", 1)]


def test_conditions_compare_numbers_by_value_and_texts_as_sent(models: Models) -> None:
    assert funnel(models, "chosen") == [(None, 1, "search", 6), (None, 2, "order", 2)]


def test_users_are_told_by_the_day_of_their_first_step(models: Models) -> None:
    columns = "funnel, dimension, dimension_value, step, user_count, share_of_first_step"
    days = models.rows("clickstream_funnel_daily", f"{columns}, report_date", "app_id = 'shop'")
    assert days == [(*row, date(2024, 5, 1)) for row in models.rows("clickstream_funnels", columns)]


BY_DAY = ("clickstream_event_base", "clickstream_user_day_base", "clickstream_funnel_daily")


def days_of(models: Models, columns: str = "report_date, step_1, step_2, load_id") -> list[tuple]:
    return models.query(
        f"select {columns} from (pivot (select report_date, step, user_count, load_id"
        f" from {PROJECT}.clickstream_funnel_daily) on 'step_' || step using max(user_count))"
        " order by all"
    )


def test_a_step_counts_on_the_day_of_the_first_one_however_late_it_comes(
    new_models: Callable[[], Models],
) -> None:
    models = new_models()
    models.definitions = Definitions(
        funnels=funnels_of([{"name": "f", "window_minutes": 2880, "steps": ["open", "pay"]}])
    )

    def at(number: int, name: str, user: str = "u1", time: str = "10:00", **fields):
        id_ = f"{user}{name}{number}{time}"
        return event(name, f"2024-05-{number:02} {time}", id_, user=user, **fields)

    write(models.sink, [at(1, "open"), at(2, "open"), at(3, "look"), at(9, "open"), at(9, "pay")])
    models.follow(*BY_DAY)
    first = [(date(2024, 5, 1), 1, 0, 1), (date(2024, 5, 2), 1, 0, 1), (date(2024, 5, 9), 1, 1, 1)]
    assert days_of(models) == first
    # Within two days of the first step on 2 May, beyond those of 1 May; 9 May is not opened.
    write(models.sink, [at(3, "pay", time="11:00", batch="late")])
    models.follow(*BY_DAY)
    assert days_of(models) == [
        (date(2024, 5, 1), 1, 0, 2),
        (date(2024, 5, 2), 1, 1, 2),
        (date(2024, 5, 9), 1, 1, 1),
    ]
    drop(models.sink, "late")
    models.follow(*BY_DAY)
    columns = "report_date, step_1, step_2"
    assert days_of(models, columns) == [row[:3] for row in first]
    # Nobody is left on a day.
    write(models.sink, [at(20, "open", batch="late")])
    models.follow(*BY_DAY)
    assert days_of(models, columns)[-1] == (date(2024, 5, 20), 1, 0)
    drop(models.sink, "late")
    models.follow(*BY_DAY)
    assert days_of(models, columns) == [row[:3] for row in first]


@pytest.mark.heavy
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_days_of_funnels_follow_batches_as_built_from_nothing(
    new_models: Callable[[], Models], zone: str
) -> None:
    models = new_models()
    models.definitions = Definitions(
        time_zone=zone,
        funnels=funnels_of(
            [
                {
                    "name": "click",
                    "by": "platform",
                    "window_minutes": 1500,
                    "steps": ["_session_start", "_page_view", "click"],
                },
                {"name": "soon", "window_minutes": 5, "steps": ["_page_view", "_page_view"]},
            ]
        ),
    )
    for number in (3, 1, 2):
        write(models.sink, traffic(number))
        models.follow(*BY_DAY)
    drop(models.sink, "b3")
    models.follow(*BY_DAY)
    found = models.rows("clickstream_funnel_daily", "* exclude (load_id)")
    models.dbt("run", "--full-refresh", "--select", *BY_DAY)
    assert found == models.rows("clickstream_funnel_daily", "* exclude (load_id)")
    assert len(found) > 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{name: a, steps: [x]}]", "funnel a has 1 steps: write 2 to 10"),
        ("[{name: a, steps: [x, y], by: user_id}]", "is by 'user_id': write one of platform"),
        ('[{name: a, steps: [x, "y\'"]}]', 'event has the name "y\'"'),
        ("[{name: a, steps: [x, y]}, {name: a, steps: [x, y]}]", "funnels has 'a' twice"),
        ("[{name: a, steps: [x, y], window_minutes: 0}]", "window_minutes 0 of funnel a"),
        ("[{name: a, steps: [x, y], window_minutes: 1.5}]", "window_minutes 1.5: write a whole"),
        ("[{name: a, step: [x, y]}]", "write the keys name, steps, and if you like"),
        ("[{name: a, steps: [x, {event: y, where: [{parameter: p}]}]}]", "has 0 tests"),
        (
            "[{name: a, steps: [x, {event: y, where: [{parameter: p, at_least: '1'}]}]}]",
            "at_least '1' on p: write a number",
        ),
        (
            "[{name: a, steps: [x, {event: y, where: [{parameter: p, equals: 'a\\b'}]}]}]",
            "write a text without backslashes",
        ),
        ("{a: b}", "funnels {'a': 'b'} in"),
    ],
)
def test_what_is_no_funnel_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "definitions.yaml"
    file.write_text(f"funnels: {text}")
    with pytest.raises(SettingError) as error:
        read_definitions(file)
    assert message in str(error.value)
