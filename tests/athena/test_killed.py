"""A run on Athena may end between any two statements; the next one makes it good."""

import re
from collections.abc import Callable

from tests.athena.conftest import TwoLakes
from tests.dbt.model_input import traffic

_CHANGES = re.compile(r"^(?!--)\s*(insert|delete|merge|create table)", re.I | re.M)


def test_killed_behind_every_change_it_ends_in_the_same_rows(
    new_lakes: Callable[[], TwoLakes],
) -> None:
    lakes = new_lakes()
    lakes.write(traffic(1, events=40))
    lakes.run_athena()
    # One load that brings files and takes others away.
    lakes.drop("b1")
    lakes.write(traffic(1, events=30, seed=9))
    lakes.write(traffic(2, events=20))
    kills = 0
    while lakes.run_killed(lambda text: bool(_CHANGES.search(text)), survive=1):
        kills += 1
        assert kills < 60, "the run does not come to its end"
    assert kills > 10
    lakes.run_duckdb()
    lakes.must_be_equal()
