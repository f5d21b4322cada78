"""What a project's stacks cost a month: their resources and the traffic, at public prices."""

from collections.abc import Mapping
from dataclasses import dataclass

from clickstream_dagster.infra.cost_rules import Line, Usage, lines_of
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.inputs import inputs_of
from clickstream_dagster.infra.prices import price_list


@dataclass(frozen=True)
class Costs:
    """An estimate: its positions, what it assumes, and what the seed solution states."""

    lines: tuple[Line, ...]
    usage: Usage
    region: str
    prices_as_of: str
    prices_region: str
    reference: Mapping[str, float]

    @property
    def usd(self) -> float:
        return sum(line.usd for line in self.lines)

    def of_module(self, module: str) -> float:
        """Give the USD a month of a module."""
        return sum(line.usd for line in self.lines if line.module == module)


def estimate(infrastructure: Infrastructure, usage: Usage | None = None) -> Costs:
    """Estimate a month of a project's modules from their templates. No call to AWS."""
    usage = usage or Usage()
    lines: list[Line] = []
    for module in infrastructure.ordered():
        inputs = inputs_of(infrastructure, module, {})
        lines += lines_of(module.name, inputs.template, inputs.parameters, usage)
    listed = price_list()
    rate = round(usage.requests_per_second)
    return Costs(
        tuple(lines),
        usage,
        infrastructure.access.region or "",
        listed["as_of"],
        listed["region"],
        {
            module: by_rate[rate]
            for module, by_rate in listed["reference"].items()
            if rate in by_rate and any(module == one.name for one in infrastructure.modules)
        },
    )
