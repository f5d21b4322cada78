"""How numbers of `infra` are described: with the bounds that the rules hold them to."""

import dagster as dg

from clickstream_dagster.components.fields import describe
from clickstream_dagster.infra.bounds import BOUNDS


def number(key: str, text: str, *examples: int) -> dg.Resolver:
    """Describe a number of `infra`; the bounds of `key` are added."""
    return describe(description=f"{text} {BOUNDS[key]}.", examples=list(examples) or None)
