"""The ten views of Athena have the rows that DuckDB's have, whatever way the lake took."""

from collections.abc import Callable

from tests.athena.conftest import TwoLakes
from tests.dbt.model_input import event, traffic


def test_batch_by_batch_and_from_nothing(new_lakes: Callable[[], TwoLakes]) -> None:
    lakes = new_lakes()
    for number in (1, 2, 3):
        lakes.write(traffic(number))
        lakes.run_athena()
        lakes.run_duckdb()
        lakes.must_be_equal()
