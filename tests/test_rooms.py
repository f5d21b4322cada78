"""Arrows between the rooms point one way, and what runs without Dagster imports none of it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "clickstream_dagster"
PLUGINS = "clickstream_plugins"

ANYONE_MAY = {
    "",
    "durable_files",
    "errors",
    "ids",
    "tuning",
}  # "" is the package itself, for its version
BELOW_DAGSTER = {"batches", "processing", "collector", "sample", "emr", "warehouses", "infra"}
PIPES = "dagster_pipes"  # how a job elsewhere tells Dagster: a file without dependencies
MAY_IMPORT = {
    "batches": set(),
    "processing": {"batches"},
    "collector": {"batches", "processing"},
    "sample": {"processing"},
    "emr": {"batches", "processing"},
    "warehouses": {"batches", "processing"},
    "infra": {"batches", "collector"},
    "resources": {"emr", "warehouses", "infra", "batches", "processing", "collector"},
    "checks": {"resources", "infra", "batches", "processing"},
    "assets": {"checks", "resources", "warehouses", "infra", "batches", "processing"},
    "automation": {"assets", "checks", "resources", "batches", "processing"},
    "components": {
        *("automation", "assets", "checks", "resources", "emr", "warehouses", "infra"),
        *("batches", "processing", "collector"),
    },
    "backfill": set(),
    "defs": set(),
    "deployment": set(),
    "definitions": {"defs", "deployment"},
    "ui": {"deployment"},
    "projects": {"assets", "batches", "components", "defs", "deployment", "infra"},
    "plain_errors": set(),
    "model_options": set(),
    "s3_options": set(),
    "collector_command": {"plain_errors", "projects", "s3_options", "batches", "collector"},
    "replay_command": {"plain_errors", "projects", "s3_options", "batches", "processing"},
    "sdk_config_command": {"plain_errors", "projects"},
    "plugin_scaffold": {"processing"},
    "geo_fetch": {"processing"},
    "plugin_commands": {"geo_fetch", "plugin_scaffold", "processing"},
    "athena_commands": {
        *("batches", "model_options", "plain_errors", "resources", "s3_options", "warehouses"),
    },
    "redshift_commands": {
        *("batches", "model_options", "plain_errors", "processing"),
        *("resources", "s3_options", "warehouses"),
    },
    "infra_commands": {"infra", "plain_errors", "projects", "s3_options"},
    "package_commands": {
        *("components", "resources", "emr", "plain_errors"),
        *("batches", "processing"),
    },
    "demo": {"batches", "definitions", "deployment", "processing", "resources", "sample"},
    "cli": {
        *(
            "athena_commands",
            "backfill",
            "collector_command",
            "demo",
            "infra_commands",
            "package_commands",
            "plain_errors",
            "plugin_commands",
            "redshift_commands",
            "replay_command",
            "model_options",
            "s3_options",
            "sdk_config_command",
            "ui",
        ),
        *("resources", "processing", "collector", "sample", "batches"),
    },
}


def room_of(module: str) -> str:
    """Give the room of a module of the package: a folder, or a file beside the folders."""
    return module.removeprefix(PACKAGE).strip(".").partition(".")[0]


def imported_modules(file: Path) -> set[str]:
    """Give the modules that a file imports anywhere, in functions and for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            if node.module == PACKAGE:  # `from package import room`
                found.update(
                    PACKAGE if alias.name.startswith("__") else f"{PACKAGE}.{alias.name}"
                    for alias in node.names
                )
            else:
                found.add(node.module)
    return found


def files_of(room: str) -> list[Path]:
    folder = ROOT / PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imports_of(files: list[Path]) -> set[tuple[str, str]]:
    """Give `(file, module)` for everything that some files import."""
    return {
        (str(file.relative_to(ROOT)), module) for file in files for module in imported_modules(file)
    }


ROOMS = sorted(
    {
        path.stem
        for path in (ROOT / PACKAGE).iterdir()
        if (path.suffix == ".py" or any(path.glob("*.py"))) and not path.name.startswith("_")
    }
    - ANYONE_MAY
)


def test_every_room_has_its_place_and_no_way_leads_in_a_circle() -> None:
    assert set(ROOMS) <= MAY_IMPORT.keys()
    TopologicalSorter(MAY_IMPORT).prepare()  # raises CycleError for a circle


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    allowed = MAY_IMPORT[room] | ANYONE_MAY | {room}
    wrong = {
        (file, module)
        for file, module in imports_of(files_of(room))
        if module.partition(".")[0] == PACKAGE and room_of(module) not in allowed
    }
    assert wrong == set()


def test_errors_and_ids_import_nothing_of_the_package() -> None:
    modules = imports_of([file for room in ("errors", "ids") for file in files_of(room)])
    assert {module for _, module in modules if module.startswith(PACKAGE)} == set()


@pytest.mark.parametrize("room", sorted(BELOW_DAGSTER & set(ROOMS)))
def test_what_works_without_dagster_does_not_import_it(room: str) -> None:
    modules = imports_of(files_of(room))
    allowed = {PIPES} if room == "emr" else set()
    assert {module for _, module in modules if module.startswith(("dagster", "dbt"))} <= allowed


def test_a_plugin_sees_only_the_contract_of_processing() -> None:
    modules = imports_of(sorted((ROOT / "plugins").rglob("*.py")))
    seen = {module for _, module in modules if module.partition(".")[0] == PACKAGE}
    assert {room_of(module) for module in seen} <= {"processing"} | ANYONE_MAY
    # The way back is by name only: plug-ins are found by entry points.
    package = imports_of(sorted((ROOT / PACKAGE).rglob("*.py")))
    assert {module for _, module in package if module.startswith(PLUGINS)} == set()


@pytest.mark.parametrize(
    ("line", "modules"),
    [
        ("import dagster as dg", {"dagster"}),
        (
            "def f():\n    from clickstream_dagster.sample import plan",
            {"clickstream_dagster.sample"},
        ),
        ("from clickstream_dagster import errors", {"clickstream_dagster.errors"}),
        ("from clickstream_dagster import __version__", {"clickstream_dagster"}),
    ],
)
def test_imports_are_found_wherever_they_stand(
    tmp_path: Path, line: str, modules: set[str]
) -> None:
    file = tmp_path / "module.py"
    file.write_text(line)
    assert imported_modules(file) == modules
