"""The UI in a real browser: lineage, partitions and metadata of the project `demo`.

`CLICKSTREAM_REFRESH_PICTURES=1` also saves the picture of the lineage that the README shows.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.chromium import chromium_page
from tests.served import served_dagster

REPOSITORY = Path(__file__).parents[2]
PICTURE = REPOSITORY / "docs" / "images" / "lineage.png"
SECONDS_TO_SHOW = 60_000
SMALL_DEMO = """
from dataclasses import replace
from clickstream_dagster.demo.progress import own_console
from clickstream_dagster.demo.run import PLAN, run_demo
run_demo(own_console(), replace(PLAN, events={events}))
"""

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("deployment")
    return {
        **os.environ,
        "CLICKSTREAM_ROOT": str(root),
        "DAGSTER_HOME": str(root / ".dagster_home"),
    }


@pytest.fixture(scope="module")
def ui(environment) -> Iterator[str]:
    """The address of a UI on a deployment whose demo has run."""
    events = 50_000 if "CLICKSTREAM_REFRESH_PICTURES" in os.environ else 5_000
    subprocess.run(
        [sys.executable, "-c", SMALL_DEMO.format(events=events)], env=environment, check=True
    )
    clickstream = Path(sys.executable).with_name("clickstream")
    with served_dagster(
        [clickstream, "ui"], environment, Path(environment["CLICKSTREAM_ROOT"])
    ) as ui:
        yield ui


@pytest.fixture
def page(tmp_path) -> Iterator[Page]:
    with chromium_page(tmp_path / "profile", viewport={"width": 2200, "height": 1900}) as page:
        page.context.set_default_timeout(SECONDS_TO_SHOW)
        expect.set_options(timeout=SECONDS_TO_SHOW)
        yield page


def test_the_lineage_shows_the_way_from_raw_files_to_views(ui, page):
    # Only what is in the window is drawn, and the graph is scaled to its width.
    page.set_viewport_size({"width": 2200, "height": 4000})
    page.goto(f"{ui}/asset-groups", wait_until="domcontentloaded")
    for group in ("demo_ingest", "demo_lake", "demo_duckdb"):
        expect(page.get_by_text(group).first).to_be_visible()
    page.get_by_text("Hide navigation").click()
    page.keyboard.press("Alt+e")  # expand all groups
    expect(page.get_by_text(re.compile("^clickstream_")).first).to_be_visible()
    # Opened anew, the graph fits the window.
    page.reload(wait_until="domcontentloaded")
    for name in ("raw_batch", "ods_event", "bad_event", "clickstream_session_view"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_text("100% filled").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"3 / 3 Passed")).first).to_be_visible()
    expect(page.get_by_text("Iceberg").first).to_be_visible()
    expect(page.get_by_text("14 partitions")).to_have_count(38)


def test_the_lineage_of_some_views_fits_a_screen(ui, page, tmp_path):
    views = ("session_view", "path_view", "user_dim_view", "retention_view", "device_view")
    selection = " or ".join(f'+key:"demo/duckdb/clickstream_{view}"' for view in views)
    groups = ",".join(f"global@global:demo_{group}" for group in ("duckdb", "lake", "ingest"))
    page.set_viewport_size({"width": 2600, "height": 1200})
    page.goto(
        f"{ui}/asset-groups~{quote(selection, safe='')}?expanded={quote(groups, safe='')}",
        wait_until="domcontentloaded",
    )
    page.get_by_text("Hide navigation").click()
    # Opened anew, the graph fits the window.
    page.reload(wait_until="domcontentloaded")
    for name in ("raw_batch", "ods_event", *(f"clickstream_{view}" for view in views)):
        expect(page.get_by_text(name, exact=True).first).to_be_in_viewport()
    expect(page.get_by_text("clickstream_funnels")).to_have_count(0)
    # The statuses come behind the graph.
    expect(page.get_by_text("100% filled")).to_have_count(14)
    expect(page.get_by_text(re.compile("^Loading"))).to_have_count(0)
    shot = tmp_path / "lineage.png"
    page.screenshot(path=shot)
    assert shot.stat().st_size > 50_000
    if "CLICKSTREAM_REFRESH_PICTURES" in os.environ:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shot, PICTURE)


def test_an_asset_shows_its_windows_counters_and_columns(ui, page):
    page.goto(f"{ui}/assets/demo/ods_event", wait_until="domcontentloaded")
    expect(page.get_by_text("One row per event: decoded, cleaned, typed").first).to_be_visible()
    expect(page.get_by_text("event_bundle_sequence_id").first).to_be_visible()
    expect(page.get_by_text("demo.ods_event").first).to_be_visible()
    page.goto(
        f"{ui}/assets/demo/ods_event?view=partitions&partition=2026-01-03-12:00",
        wait_until="domcontentloaded",
    )
    expect(page.get_by_text("Materialized (14)")).to_be_visible()
    for counter in ("duplicate", "too_old", "foreign_app", "ua_found"):
        expect(page.get_by_text(counter, exact=True).first).to_be_visible()


def test_a_backfill_from_the_command_line_is_one_run_over_its_windows(ui, environment):
    command = [str(Path(sys.executable).with_name("clickstream")), "backfill", "demo"]
    answer = subprocess.run(
        [*command, "--from", "2026-01-02", "--to", "2026-01-03", "--wait", "--url", ui],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "4 windows, 2026-01-02-00:00 to 2026-01-03-12:00" in answer.stdout
    last = answer.stdout.splitlines()[-1]
    assert re.fullmatch(r"COMPLETED_SUCCESS: run \w+ SUCCESS", last)


def test_a_project_that_is_not_there_is_told(ui, environment):
    command = [str(Path(sys.executable).with_name("clickstream")), "backfill", "nothing"]
    answer = subprocess.run(
        [*command, "--from", "2026-01-02", "--to", "2026-01-03", "--url", ui],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert "has no project 'nothing'" in answer.stderr
