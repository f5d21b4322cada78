"""A run on Athena may end between any two statements; the next one makes it good."""

import re
from collections.abc import Callable
from itertools import chain, repeat

from tests.athena.conftest import TwoLakes
from tests.dbt.model_input import traffic

_CHANGES = re.compile(r"^(?!--)\s*(insert|delete|merge|create table(?! if))", re.I | re.M)


def test_killed_behind_every_change_it_ends_in_the_same_rows(
    new_lakes: Callable[[str], TwoLakes],
) -> None:
    lakes = new_lakes("Asia/Kolkata")
    lakes.write(traffic(1, events=40))
    lakes.run_athena()
    # One load that brings files and takes others away.
    lakes.drop("b1")
    lakes.write(traffic(1, events=30, seed=9))
    lakes.write(traffic(2, events=20))
    kills = 0
    # A load is eleven changes and starts over until it is noted, with the ninth. A model is two to
    # four, and starts over without its note: a run ends between them or behind those of another.
    for survive in chain((3, 4, 5, 6, 7, 8, 9, 16), repeat(5)):
        if not lakes.run_killed(lambda text: bool(_CHANGES.search(text)), survive):
            break
        kills += 1
        assert kills < 30, "the run does not come to its end"
    assert kills > 10
    lakes.run_duckdb()
    lakes.must_be_equal()
