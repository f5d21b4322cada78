"""An estimate of costs as a terminal shows it, with what it assumes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from clickstream_dagster.infra.cost import Costs
from clickstream_dagster.infra.cost_rules import Line

if TYPE_CHECKING:
    from rich.console import Console


def show_costs(console: "Console", costs: Costs) -> None:
    """Print a month of costs, module by module, and the assumptions."""
    table = Table(title="Estimated costs of a month, USD", title_justify="left", box=None)
    table.add_column("module")
    table.add_column("resource")
    table.add_column("what")
    table.add_column("quantity", justify="right")
    table.add_column("price", justify="right")
    table.add_column("USD", justify="right")
    table.add_column("seed 000, USD", justify="right")
    modules = list(dict.fromkeys(line.module for line in costs.lines))
    for module in modules:
        stated = costs.reference.get(module)
        table.add_row(
            f"[bold]{escape(module)}[/bold]",
            *("", "", "", ""),
            f"[bold]{costs.of_module(module):,.2f}[/bold]",
            "" if stated is None else f"{stated:,.0f}",
        )
        for line in _summed(costs, module):
            table.add_row(
                "",
                escape(line.resource),
                escape(line.what),
                f"{line.quantity:,.2f}",
                "unknown" if line.price is None else f"{line.price:g}",
                "?" if line.price is None else f"{line.usd:,.2f}",
                "",
            )
    table.add_section()
    table.add_row("[bold]all[/bold]", "", "", "", "", f"[bold]{costs.usd:,.2f}[/bold]", "")
    console.print(table)
    console.print(_assumptions(costs))


def _summed(costs: Costs, module: str) -> Iterable[Line]:
    """Give the positions of a module; those of the same kind are one, as of ten alarms."""
    kinds: dict[tuple[str, float | None], list[Line]] = {}
    for line in costs.lines:
        if line.module == module:
            kinds.setdefault((line.what, line.price), []).append(line)
    for (what, price), lines in kinds.items():
        resource = lines[0].resource if len(lines) == 1 else f"{len(lines)} resources"
        yield Line(module, resource, what, sum(line.quantity for line in lines), price)


def _assumptions(costs: Costs) -> Table:
    table = Table(title="It assumes", title_justify="left", box=None, show_header=False)
    where = f"public, on demand, {costs.prices_region}, as of {costs.prices_as_of}"
    if costs.region and costs.region != costs.prices_region:
        where += f"; those of {costs.region} differ"
    table.add_row("prices", escape(where))
    for what, value in costs.usage.told().items():
        table.add_row(what, escape(value))
    if costs.reference:
        table.add_row("seed 000", "what the seed solution states for its own at this traffic")
    return table
