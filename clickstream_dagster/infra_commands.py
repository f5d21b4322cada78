"""`clickstream infra …`: a project's stacks on AWS, planned, applied and destroyed."""

import json
import signal
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from clickstream_dagster.errors import SettingError
from clickstream_dagster.plain_errors import plain_errors
from clickstream_dagster.s3_options import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from clickstream_dagster.infra.destroy import Destroyed
    from clickstream_dagster.infra.infrastructure import Infrastructure
    from clickstream_dagster.infra.plan import Plan
    from clickstream_dagster.infra.stacks import Event
    from clickstream_dagster.projects import DeployedInfrastructure

infra_app = typer.Typer(
    help="The project's stacks on AWS, as its YAML describes them.", no_args_is_help=True
)

NOTHING_TO_CHANGE, CHANGES = 0, 2

ProjectId = Annotated[str, typer.Argument(help="Id of the project.")]
Modules = Annotated[
    list[str] | None,
    typer.Option("--module", help="Only this module; repeat for more. Default: all."),
]
Region = Annotated[str | None, typer.Option(help="AWS region. Default: the YAML's, else boto3's.")]
Endpoint = Annotated[
    str | None,
    typer.Option(help="Address at which all of AWS is reached. Default: as boto3 finds it."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
BreakLock = Annotated[
    bool,
    typer.Option(
        "--break-lock", help="Take the lock of a process that is no more; look first that it is."
    ),
]
AllowLoss = Annotated[
    list[str] | None,
    typer.Option(
        help="Resource that holds data and may be deleted or replaced, as module.LogicalId; "
        "repeat for more."
    ),
]
Rate = Annotated[
    float, typer.Option(help="Requests a second for the estimate of costs; a request is 1 KB.")
]


@infra_app.command("plan")
def plan(
    project: ProjectId,
    module: Modules = None,
    allow_loss: AllowLoss = None,
    requests_per_second: Rate = 10.0,
    break_lock: BreakLock = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show what apply would do, and what it costs a month. Changes nothing.

    Exit code 0: nothing to change. 2: there are changes. 1: an error.
    """
    from clickstream_dagster.infra.show import show_plan

    with plain_errors():
        deployed = _deployed(project, region, profile, endpoint_url)
        console = _console()
        _break(deployed.infrastructure, break_lock)
        found = _plan(console, deployed, module)
        show_plan(console, found, allow_loss or ())
        _show_cost(console, deployed, requests_per_second)
    raise typer.Exit(CHANGES if found.has_changes else NOTHING_TO_CHANGE)


@infra_app.command("apply")
def apply(
    project: ProjectId,
    module: Modules = None,
    yes: Yes = False,
    allow_loss: AllowLoss = None,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Take away stacks that the YAML no longer names; data stays"),
    ] = False,
    break_lock: BreakLock = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Make the stacks as the YAML says. Shows the plan and asks; can be run again at any moment.

    A stack that fails is rolled back by CloudFormation, and its first cause is shown.
    """
    from clickstream_dagster.infra.apply import apply as apply_modules
    from clickstream_dagster.infra.destroy import destroy as destroy_modules
    from clickstream_dagster.infra.plan import require_allowed, require_possible
    from clickstream_dagster.infra.show import show_plan

    with plain_errors():
        deployed = _deployed(project, region, profile, endpoint_url)
        infrastructure = deployed.infrastructure
        console = _console()
        _break(infrastructure, break_lock)
        found = _plan(console, deployed, module)
        allowed = allow_loss or ()
        show_plan(console, found, allowed)
        require_allowed(found, allowed)
        require_possible(found.modules)
        gone = [one.module for one in found.modules if one.state == "removed"]
        changed = [one.module for one in found.modules if one.state != "unchanged"]
        if not changed or (changed == gone and not remove):
            return
        if not yes and not typer.confirm("Apply this?"):
            raise typer.Exit(1)
        with _told(console, "applying") as tell:
            apply_modules(infrastructure, module, allowed, tell)
            if remove and gone:
                done = destroy_modules(infrastructure, gone, tell=tell)
                _show_destroyed(console, done)


@infra_app.command("destroy")
def destroy(
    project: ProjectId,
    module: Modules = None,
    yes: Yes = False,
    delete_data: Annotated[
        bool,
        typer.Option(
            "--delete-data",
            help="Delete what is kept otherwise: buckets with all versions, keys, logs, databases.",
        ),
    ] = False,
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Take along modules that need a named one.")
    ] = False,
    break_lock: BreakLock = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Take the stacks away. Keeps data, shows what is kept; asks for the project's id.

    After a failure half-way it can be run again.
    """
    from clickstream_dagster.infra.destroy import destroy as destroy_modules
    from clickstream_dagster.infra.destroy import to_destroy

    with plain_errors():
        infrastructure = _deployed(project, region, profile, endpoint_url).infrastructure
        console = _console()
        _break(infrastructure, break_lock)
        stacks = to_destroy(infrastructure, module, with_dependents)
        if not stacks:
            console.print("Nothing to destroy.")
            return
        console.print("To be destroyed: " + ", ".join(stack.name for stack in stacks))
        console.print("Its data is deleted, too." if delete_data else "Its data is kept.")
        if not yes and typer.prompt(f"Type {project} to go on", default="", show_default=False) != (
            project
        ):
            raise SettingError("that is not the project's id: nothing is destroyed")
        with _told(console, "destroying") as tell:
            done = destroy_modules(infrastructure, module, delete_data, with_dependents, tell)
        _show_destroyed(console, done)


@infra_app.command("drift")
def drift(
    project: ProjectId,
    module: Modules = None,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show what somebody has changed past CloudFormation. Exit code 2 if anything is."""
    from clickstream_dagster.infra.drift import NOT_THERE, find_drift
    from clickstream_dagster.infra.show import show_drift

    with plain_errors():
        infrastructure = _deployed(project, region, profile, endpoint_url).infrastructure
        console = _console()
        with console.status("asking CloudFormation"):
            found = find_drift(infrastructure, module)
        show_drift(console, found)
    if any(not one.in_sync and one.status != NOT_THERE for one in found):
        raise typer.Exit(CHANGES)


@infra_app.command("outputs")
def outputs(
    project: ProjectId,
    module: Modules = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show the outputs of the stacks that are there: endpoint, ids, roles."""
    from clickstream_dagster.infra.stacks import Stacks

    with plain_errors():
        infrastructure = _deployed(project, region, profile, endpoint_url).infrastructure
        there = Stacks(infrastructure.access).of_project(project)
        names = [one.name for one in infrastructure.ordered(module)]
        found = {
            name: dict(there[name].outputs)
            for name in names
            if name in there and there[name].is_there
        }
        if as_json:
            typer.echo(json.dumps(found, indent=2))
            return
        if not found:
            typer.echo("Nothing is applied.")
            return
        rows = [(name, *one) for name, values in found.items() for one in sorted(values.items())]
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        for name, key, value in rows:
            # Lines that no table breaks: a value is there to be copied.
            typer.echo(f"{name:<{widths[0]}}  {key:<{widths[1]}}  {value}")


def _deployed(
    project: str, region: str | None, profile: str | None, endpoint_url: str | None
) -> "DeployedInfrastructure":
    from clickstream_dagster.projects import deployed_infrastructure

    found = deployed_infrastructure(project)
    given = {"region": region, "profile": profile, "endpoint_url": endpoint_url}
    chosen = {key: value for key, value in given.items() if value is not None}
    declared = found.infrastructure
    reached = replace(declared, access=replace(declared.access, **chosen))
    return replace(found, infrastructure=reached)


def _console() -> "Console":
    import sys

    from rich.console import Console

    # A file or a pipe gets lines that no table breaks; `:secret:` of an ARN is no emoji.
    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, soft_wrap=False, emoji=False)


def _plan(
    console: "Console", deployed: "DeployedInfrastructure", modules: list[str] | None
) -> "Plan":
    from clickstream_dagster.infra.plan import make_plan

    infrastructure = deployed.infrastructure
    if not infrastructure.modules:
        console.print(f"The YAML of {infrastructure.project_id} names no module: see infra there.")
    with console.status("asking AWS"):
        return make_plan(infrastructure, modules)


def _break(infrastructure: "Infrastructure", wanted: bool) -> None:
    if not wanted:
        return
    from clickstream_dagster.infra.lock import ProjectLock

    holder = ProjectLock(infrastructure.project_id, infrastructure.access).break_it()
    typer.echo(f"took the lock of {holder}" if holder else "there was no lock to break", err=True)


@contextmanager
def _told(console: "Console", doing: str) -> "Iterator[Callable[[str, Event | str], None]]":
    """Show what happens to the stacks while it does; an interrupt says that AWS goes on."""

    def tell(module: str, what: "Event | str") -> None:
        failed = not isinstance(what, str) and what.status.endswith("FAILED")
        console.print(f"{module}: {what}", style="red" if failed else None, markup=False)

    # A stop of the machine gives the lock back, as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with console.status(doing):
            yield tell
    except KeyboardInterrupt:
        typer.echo(
            "CloudFormation goes on with the stack that it is at; the command waits for it when it "
            "is run again",
            err=True,
        )
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_destroyed(console: "Console", done: "Destroyed") -> None:
    from clickstream_dagster.infra.prices import kept_prices
    from clickstream_dagster.infra.show import show_kept

    console.print(f"Destroyed: {', '.join(done.modules) or 'nothing'}.")
    show_kept(console, done.kept, kept_prices())


def _show_cost(
    console: "Console", deployed: "DeployedInfrastructure", requests_per_second: float
) -> None:
    from clickstream_dagster.infra.cost import estimate
    from clickstream_dagster.infra.cost_rules import Usage
    from clickstream_dagster.infra.cost_tables import show_costs

    if deployed.infrastructure.modules:
        usage = Usage(
            requests_per_second=requests_per_second,
            hours_between_runs=deployed.hours_between_runs,
        )
        show_costs(console, estimate(deployed.infrastructure, usage))
