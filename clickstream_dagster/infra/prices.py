"""The list of public prices, with date, region and source of each."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml


@lru_cache(1)
def price_list() -> Mapping[str, Any]:
    """Give `prices.yaml` as it is written."""
    text = files("clickstream_dagster.infra").joinpath("prices.yaml").read_text()
    return yaml.safe_load(text)


def price(key: str) -> float | None:
    """Give a price in USD: by its name, or `ec2/c6i.large` for an hour of a machine.

    None for a machine that the list does not have. Raises KeyError for an unknown name.
    """
    group, _, kind = key.partition("/")
    if kind:
        return price_list()["instances"][group].get(kind)
    return price_list()["prices"][key]["usd"]


def kept_prices() -> Mapping[str, str]:
    """Give what a resource costs that is kept after a destroy, by type."""
    return price_list()["kept"]
