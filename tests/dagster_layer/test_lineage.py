"""Each column of a model tells the columns that it comes from."""

import json
from pathlib import Path

import dagster as dg
import pytest

from clickstream_dagster.assets.lineage import LINEAGE, column_origins, model_origins
from clickstream_dagster.assets.manifest import MANIFEST

EVENTS = dg.AssetKey(["demo", "ods_event"])
# What counts rows comes from no column.
COUNTS = {
    ("clickstream_lifecycle_daily_view", "sum"),
    ("clickstream_lifecycle_weekly_view", "sum"),
}
PARENTS = {"event": ["app_id", "name", "time", "device", "params"], "load": ["app_id", "time"]}


@pytest.mark.parametrize(
    ("expression", "origins"),
    [
        ("name", ["name"]),
        ("device.screen.width", ["device"]),
        ("list_filter(params, lambda p: p.key = 'name')[1].value.int_value", ["params"]),
        ("case when app_id = 'a' then name end", ["app_id", "name"]),
        ("lag(name) over (partition by app_id order by time)", ["app_id", "name", "time"]),
        ("lag(name) over in_app", ["app_id", "name", "time"]),
        ("item.key", ["params"]),
        ("count(*) over ()", []),
        ("cast(2 as bigint)", []),
    ],
)
def test_a_column_comes_from_the_columns_of_its_expression(expression, origins):
    sql = f"""
        with events as (select *, unnest(params) as item from "warehouse"."shop"."event")
        select {expression} as found, app_id
        from events
        window in_app as (partition by app_id order by time)
    """
    found = column_origins(sql, PARENTS)
    assert found == {
        "found": [["event", column] for column in origins],
        "app_id": [["event", "app_id"]],
    }


def test_filters_and_what_is_no_column_of_a_parent_are_left_out():
    sql = """
        select e.*, e.file, other.label, load.time as loaded
        from event as e
        inner join load on e.app_id is not distinct from load.app_id
        inner join other on other.name = e.name
        where e.time between date '2026-01-01' and date '2026-01-02'
    """
    found = column_origins(sql, PARENTS)
    assert found.pop("file") == found.pop("label") == []
    assert found.pop("loaded") == [["load", "time"]]
    assert found == {column: [["event", column]] for column in PARENTS["event"]}


def test_on_redshift_an_element_comes_from_its_array():
    sql = """
        select e.app_id, one.label, one.nth
        from "shop"."event" as e
        left join (
            select
                e.app_id,
                max(cast(p.value.string_value as varchar(10))) as label,
                row_number() over (partition by e.name order by place) as nth
            from "shop"."event" as e, e.params as p at place
            where p.key = 'label'
            group by e.app_id
        ) as one on e.app_id = one.app_id
    """
    assert column_origins(sql, PARENTS, "redshift") == {
        "app_id": [["event", "app_id"]],
        "label": [["event", "params"]],
        "nth": [["event", "name"], ["event", "params"]],
    }


@pytest.fixture
def state(tmp_path) -> Path:
    (tmp_path / "manifest.sha256").write_text("first")
    return tmp_path


def run_of(directory: Path, **models: str) -> Path:
    """Make the target directory of a run of models that read the table `event`."""
    nodes = {
        f"model.clickstream.{name}": {
            "name": name,
            "compiled_code": sql,
            "depends_on": {"nodes": ["source.clickstream.lake.event"]},
        }
        for name, sql in models.items()
    }
    directory.mkdir()
    (directory / MANIFEST).write_text(json.dumps({"nodes": nodes}))
    return directory


def test_what_is_kept_holds_until_the_manifest_is_another(state):
    first = run_of(state / "1", names="select name from event")
    second = run_of(state / "2", names="select app_id as name from event", times="select time")
    told = []

    def origins(run, *models):
        return model_origins(state, run, models, PARENTS, "duckdb", told.append)

    assert origins(first, "names") == {"names": {"name": [["event", "name"]]}}
    assert origins(state / "none", "names") == {"names": {"name": [["event", "name"]]}}
    assert set(origins(second, "names", "times")) == {"names", "times"}
    assert origins(second, "names")["names"] == {"name": [["event", "name"]]}
    (state / "manifest.sha256").write_text("second")
    assert origins(second, "names") == {"names": {"name": [["event", "app_id"]]}}
    assert told == []


def test_a_model_that_cannot_be_read_has_no_lineage_and_is_told_once(state):
    run = run_of(state / "1", good="select name from event", bad="select ) from (")
    told = []
    for _ in range(2):
        assert set(model_origins(state, run, ["good", "bad"], PARENTS, "duckdb", told.append)) == {
            "good"
        }
    assert len(told) == 1
    assert told[0].startswith("bad has no column lineage: ")
    assert "\n" not in told[0]


@pytest.fixture(scope="module")
def lineage(demo) -> dict[dg.AssetKey, dict[str, set[tuple[dg.AssetKey, str]]]]:
    """The lineage of each model that the demo has recorded: by column, keys and their columns."""
    with demo.instance() as instance:
        events = {
            key: instance.get_latest_materialization_event(key).asset_materialization
            for key in instance.get_asset_keys(prefix=["demo", "duckdb"])
        }
    return {
        key: {
            column: {(dep.asset_key, dep.column_name) for dep in deps}
            for column, deps in event.metadata[
                "dagster/column_lineage"
            ].column_lineage.deps_by_column.items()
        }
        for key, event in events.items()
    }


def model(name: str) -> dg.AssetKey:
    return dg.AssetKey(["demo", "duckdb", f"clickstream_{name}"])


def test_columns_of_the_models_come_from_their_parents(lineage):
    assert lineage[model("session_view")]["entry_view"] == {(model("session_base"), "entry_view")}
    assert lineage[model("event_base")]["session_id"] == {(EVENTS, "event_params")}
    assert lineage[model("user_attr_day_base")]["attr_key"] == {
        (model("event_base"), "user_properties")
    }
    assert (model("event_base"), "view_name") in lineage[model("path_base")]["next_screen"]


def test_columns_of_the_reports_come_from_their_parents(lineage):
    assert lineage[model("acquisition_users")]["custom_attr_value"] == {
        (model("user_attr_base"), "attr_value")
    }
    assert lineage[model("engagement_daily")]["engagement_time_per_session"] == {
        (model("session_base"), "session_engagement_time")
    }
    assert lineage[model("active_users_daily")]["monthly_active_users"] == {
        (model("user_day_base"), "user_pseudo_id")
    }
    assert lineage[model("activity_daily")]["user_type"] == {
        (model("event_base"), "report_date"),
        (model("user_base"), "first_active_date"),
    }
    assert (model("device_base"), "screen_width") in lineage[model("device_usage")][
        "screen_resolution"
    ]


def test_every_column_of_a_view_comes_from_a_column_unless_it_counts_rows(lineage):
    without = {
        (key.path[-1], column)
        for key, columns in lineage.items()
        for column, origins in columns.items()
        if not origins and key.path[-1].endswith("_view")
    }
    assert without == COUNTS


def test_lineage_names_only_parents_of_the_graph_and_their_columns(demo, lineage):
    from clickstream_dagster.demo.run import demo_definitions

    specs = {spec.key: spec for spec in demo_definitions().resolve_all_asset_specs()}
    columns = {key: set(found) for key, found in lineage.items()}
    columns[EVENTS] = {one.name for one in specs[EVENTS].metadata["dagster/column_schema"].columns}
    assert set(lineage) == {key for key in specs if key.path[:2] == ["demo", "duckdb"]}
    for key, found in lineage.items():
        parents = {dep.asset_key for dep in specs[key].deps}
        origins = set().union(*found.values())
        assert {parent for parent, _ in origins} <= parents
        assert {(parent, name) for parent, name in origins if name not in columns[parent]} == set()
    assert (demo.data / "dbt" / "demo" / LINEAGE).is_file()
