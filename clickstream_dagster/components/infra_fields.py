"""How fields of `infra` are described: numbers with the bounds that the rules hold them to."""

import dagster as dg

from clickstream_dagster.infra.bounds import BOUNDS

# In a derived model, a description of a field with a default is kept only by its resolver.
describe = dg.Resolver.default


def number(key: str, text: str, *examples: int) -> dg.Resolver:
    """Describe a number of `infra`; the bounds of `key` are added."""
    return describe(description=f"{text} {BOUNDS[key]}.", examples=list(examples) or None)
