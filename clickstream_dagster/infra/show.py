"""Plans, drift and what is left, as a terminal shows them."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from clickstream_dagster.infra.changes import ParameterChange, PropertyChange, ResourceChange
from clickstream_dagster.infra.destroy import Kept
from clickstream_dagster.infra.drift import NOT_THERE, Drift
from clickstream_dagster.infra.plan import ModulePlan, Plan

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"add": "+", "change": "~", "replace": "-/+", "may replace": "-/+ ?", "remove": "-"}
_COLOURS = {
    "add": "green",
    "change": "yellow",
    "replace": "bold red",
    "may replace": "red",
    "remove": "bold red",
}
_STATES = {
    "new": "new stack",
    "changed": "to be changed",
    "unchanged": "nothing to change",
    "failed": "to be mended",
    "at work": "being changed by somebody",
    "removed": "not in the settings any more: to be removed",
}
_LONGEST = 120


def show_plan(console: "Console", plan: Plan, allowed: Collection[str] = ()) -> None:
    """Print a plan: each module's changes, and what is refused."""
    for module in plan.modules:
        console.print(
            f"[bold]{escape(module.module)}[/bold]  {escape(module.stack)}: {_STATES[module.state]}"
        )
        for note in module.notes:
            console.print(f"  {escape(note)}")
        if module.parameters:
            console.print(_parameters(module.parameters))
        if module.resources:
            console.print(_resources(module))
        elif module.state == "changed" and not module.notes:
            console.print("  no resource changes: parameters, outputs or descriptions do")
    console.print(_sum(plan))
    for loss in plan.refused(allowed):
        console.print(
            f"[bold red]apply refuses to delete or replace {escape(loss)}, which holds data, "
            f"without --allow-loss {escape(loss)}[/bold red]"
        )
    for module in plan.modules:
        if module.not_now is not None:
            console.print(f"[bold red]apply refuses now: {escape(module.not_now)}[/bold red]")
    if removed := [one.module for one in plan.modules if one.state == "removed"]:
        console.print(
            f"[bold red]not in the settings any more: {escape(', '.join(removed))}; apply takes "
            "them away with --remove, and leaves them without[/bold red]"
        )


def _sum(plan: Plan) -> str:
    acts: dict[str, int] = {}
    for module in plan.modules:
        for one in module.resources:
            acts[one.act] = acts.get(one.act, 0) + 1
    if not plan.has_changes:
        return "Nothing to change."
    told = ", ".join(
        f"{acts.get(act, 0)} {word}"
        for act, word in {
            "add": "to add",
            "change": "to change",
            "replace": "to replace",
            "may replace": "perhaps to replace",
            "remove": "to remove",
        }.items()
        if act in ("add", "change", "remove") or acts.get(act)
    )
    return f"Plan: {told}."


def _table() -> Table:
    return Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)


def _parameters(changes: Iterable[ParameterChange]) -> Table:
    table = _table()
    for one in changes:
        table.add_row("  ", "parameter", escape(one.name), _from_to(one.before, one.after))
    return table


def _resources(module: ModulePlan) -> Table:
    table = _table()
    tagged = [one for one in module.resources if _only_tags(one)]
    if tagged:
        table.add_row("  [yellow]~[/yellow]", "tags only", _count(len(tagged)))
    for one in module.resources:
        if one in tagged:
            continue
        colour = _COLOURS[one.act]
        table.add_row(
            f"  [{colour}]{MARKS[one.act]}[/{colour}]",
            escape(one.type),
            f"[{colour}]{escape(one.logical_id)}[/{colour}]",
            escape(_remark(one)),
        )
        for change in one.properties:
            table.add_row("", "", f"  {escape(change.name)}", _property(change))
    return table


def _count(number: int) -> str:
    return f"{number} resource" + ("s" if number != 1 else "")


def _only_tags(one: ResourceChange) -> bool:
    """Whether a resource only gets other tags, as all do that have some from an older version."""
    return (
        one.act == "change"
        and bool(one.properties)
        and all(change.name.partition(".")[0] == "Tags" for change in one.properties)
    )


def _remark(one: ResourceChange) -> str:
    told = [one.physical_id, one.note]
    if one.loses_state:
        told.append("holds data" + ("; AWS keeps the old one" if one.kept else ""))
    if one.act == "may replace":
        told.append("replaced if the value turns out another")
    return "; ".join(filter(None, told))


def _property(change: PropertyChange) -> str:
    told = _from_to(change.before, change.after) if change.before or change.after else "changes"
    if change.cause:
        told += f" (by {escape(change.cause)})"
    return told + (" [red]replaces[/red]" if change.replaces else "")


def _from_to(before: str | None, after: str | None) -> str:
    return f"{_value(before)} → {_value(after)}"


def _value(value: str | None) -> str:
    if value is None:
        return "(none)"
    text = value if value.strip() else repr(value)
    return escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def show_drift(console: "Console", found: Iterable[Drift]) -> None:
    """Print what was changed past CloudFormation, module by module."""
    for drift in found:
        if drift.status == NOT_THERE:
            console.print(f"[bold]{escape(drift.module)}[/bold]: not applied")
            continue
        state = "as applied" if drift.in_sync else drift.status
        console.print(f"[bold]{escape(drift.module)}[/bold]: {escape(state)}")
        if not drift.resources:
            continue
        table = Table("resource", "type", "property", "applied", "now", box=None)
        for one in drift.resources:
            if not one.differences:
                table.add_row(escape(one.logical_id), escape(one.type), "", "", one.status.lower())
            for difference in one.differences:
                table.add_row(
                    escape(one.logical_id),
                    escape(one.type),
                    escape(difference.property),
                    _value(difference.expected),
                    _value(difference.actual),
                )
        console.print(table)


def show_kept(console: "Console", kept: Collection[Kept], prices: Mapping[str, str]) -> None:
    """Print what outlives its stack, and what it costs: `prices` by type, as a sentence."""
    if not kept:
        return
    table = Table(box=None, title_justify="left", title="Kept, and paid for until you delete it")
    for column in ("module", "type", "kept", "costs"):
        table.add_column(column, overflow="fold")  # a name that is cut can't be deleted by it
    for one in kept:
        name = (
            f"{one.physical_id} (its last snapshot)"
            if one.policy == "Snapshot"
            else (one.physical_id)
        )
        costs = prices.get(f"{one.type} {one.policy}") or prices.get(one.type, "nothing by itself")
        table.add_row(escape(one.module), escape(one.type), escape(name), escape(costs))
    console.print(table)
