"""A plug-in that breaks its contract is named, and so is the column."""

import sys
from pathlib import Path

import pytest

from clickstream_dagster.errors import PluginError, SettingError
from clickstream_dagster.processing.job import load_steps
from clickstream_dagster.processing.plugins import (
    ENRICHMENTS,
    TRANSFORMERS,
    PluginChoice,
    check_choice,
)
from clickstream_dagster.processing.settings import BatchSettings
from tests.processing.conftest import Pipeline
from tests.processing.records_input import event, plain, record

MODULE = "tests.processing.broken_plugins"
RECORDS = [record(plain(event("e1"), event("e2"), "no event"))]


def choice(name: str, **config: object) -> PluginChoice:
    return PluginChoice(f"{MODULE}:{name}", config)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fails", r"broken_plugins:Fails failed: KeyError: .*tier"),
        ("Leaves", r"broken_plugins:Leaves failed: SystemExit: no tiers today"),
        ("Drops", r":Drops dropped the column platform \(string\)"),
        ("Retypes", r":Retypes changed the column platform from string to int32; cast it"),
        ("Adds", r":Adds added the column tier, which the lake does not have"),
        ("Empties", r":Empties left the column app_id without a value in 2 of \d rows"),
        ("Loses", r":Loses got 3 rows and gave \d; an enrichment keeps every row"),
        ("Stops", r":Stops ended before it had read all of its rows"),
        ("FrameLimits", r":FrameLimits ended before it had read all of its rows"),
        ("FrameFails", r":FrameFails failed: ValueError: no such tier"),
        ("FrameAsksForAColumn", r":FrameAsksForAColumn failed: .*tier"),
        ("FrameGivesNothing", r":FrameGivesNothing gave a NoneType; .* a DataFrame"),
        ("FrameDrops", r":FrameDrops dropped the column platform"),
        ("FrameRetypes", r":FrameRetypes changed the column event_timestamp from bigint to string"),
        ("FrameAdds", r":FrameAdds added the column tier"),
        ("FrameEmpties", r":FrameEmpties left the column app_id without a value"),
        ("FrameFailsInTask", r":FrameFailsInTask failed in a task.*no tier for user 7"),
    ],
)
def test_a_broken_enrichment_is_named_in_one_line_and_nothing_is_written(
    pipeline: Pipeline, name: str, message: str
) -> None:
    with pytest.raises(PluginError, match=message) as failed:
        pipeline.process("b1", RECORDS, enrichments=("ua", choice(name), "ip"))
    assert "\n" not in str(failed.value)
    assert not pipeline.lake.has("ods_event") or pipeline.rows("ods_event") == []


def test_a_transformer_that_breaks_the_contract_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(PluginError, match=r":Reorders dropped the column app_info"):
        pipeline.process("b1", RECORDS, transformer=choice("Reorders"))


def test_a_transformer_that_stops_early_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(PluginError, match=r":StopsAtOnce ended before it had read all"):
        pipeline.process("b1", RECORDS, transformer=choice("StopsAtOnce"))


def test_an_error_that_is_for_the_user_already_stays_as_it_is(pipeline: Pipeline) -> None:
    with pytest.raises(SettingError, match=r"^the price list of May is missing$"):
        pipeline.process("b1", RECORDS, enrichments=(choice("SaysWhatIsWrong"),))


def test_the_order_of_columns_is_free(pipeline: Pipeline) -> None:
    counters = pipeline.process("b1", RECORDS, enrichments=(choice("Reorders"), "ua"))
    assert (counters.written, counters.bad) == (2, 1)


@pytest.mark.parametrize("neighbours", [(), (PluginChoice("tests.processing.own_plugin:Same"),)])
def test_a_config_reaches_the_tasks(pipeline: Pipeline, neighbours: tuple) -> None:
    chosen = (*neighbours, choice("Tier", tiers=["gold"]))
    pipeline.process("b1", RECORDS, enrichments=chosen)
    assert {row["platform"] for row in pipeline.rows("ods_event")} == {"gold"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r":Tier: config key 'tiers' is missing; write it"),
        ({"tiers": ["a"], "falback": "b"}, r"config key 'falback' is not known; write fallback"),
        ({"tiers": ["a"], "x": 1}, r"config key 'x' is not known; write one of fallback, tiers"),
        ({"tiers": []}, r"config tiers: List should have at least 1 item"),
        ({"tiers": [1]}, r"config tiers\.0: Input should be a valid string, it is '1'"),
    ],
)
def test_a_wrong_config_says_which_key_and_what_to_write(config: dict, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        check_choice(choice("Tier", **config), ENRICHMENTS)


def test_a_plugin_without_config_takes_none() -> None:
    with pytest.raises(PluginError, match=r"ua: config key 'bots' is not known; it takes no conf"):
        check_choice(PluginChoice("ua", {"bots": "drop"}), ENRICHMENTS)


def test_a_choice_is_checked_without_being_made() -> None:
    check_choice("sdk", TRANSFORMERS)
    with pytest.raises(PluginError, match=r"no plug-in 'sdkk' in .*transformers; write one of sdk"):
        check_choice("sdkk", TRANSFORMERS)


def test_a_plugin_that_needs_a_config_says_so_before_a_batch() -> None:
    with pytest.raises(PluginError, match="config key 'tiers' is missing"):
        check_choice(f"{MODULE}:Tier", ENRICHMENTS)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Plugin(", r"'broken_code:P' can't be loaded: SyntaxError: "),
        ("1 / 0", r"'broken_code:P' can't be loaded: ZeroDivisionError: division by zero"),
        ("", r"'broken_code:P' can't be loaded: module 'broken_code' has no attribute 'P'"),
    ],
)
def test_a_plugin_whose_module_can_not_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    (tmp_path / "broken_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_code", raising=False)
    with pytest.raises(PluginError, match=message) as failed:
        check_choice("broken_code:P", ENRICHMENTS)
    assert "\n" not in str(failed.value)


def test_a_plugin_that_fails_when_it_is_checked_is_named() -> None:
    settings = BatchSettings("demo", ("shop",), "lake", "b1", enrichments=(choice("FailsEarly"),))
    with pytest.raises(PluginError, match=r":FailsEarly failed: KeyError: 'tiers'"):
        load_steps(settings)


def test_a_plugin_that_can_not_be_sent_to_tasks_is_named() -> None:
    settings = BatchSettings("demo", ("shop",), "lake", "b1", enrichments=(choice("HoldsALock"),))
    with pytest.raises(PluginError, match=r":HoldsALock can't be sent to tasks: .*lock.* in apply"):
        load_steps(settings)


def test_a_choice_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "tier.yaml").write_text("tiers: [gold, silver]\n")
    assert PluginChoice.parse("ua") == PluginChoice("ua")
    assert PluginChoice.parse('m:C={"a": 1}') == PluginChoice("m:C", {"a": 1})
    from_file = PluginChoice.parse(f"m:C=@{tmp_path}/tier.yaml")
    assert from_file == PluginChoice("m:C", {"tiers": ["gold", "silver"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ua={", r"plug-in ua: the config '\{' is no JSON: .* write ua="),
        ("ua=[1]", r"plug-in ua: the config '\[1\]' is no object"),
        ("ua=@/nowhere.yaml", r"plug-in ua: the config /nowhere\.yaml can't be read"),
    ],
)
def test_a_broken_choice_on_the_command_line_is_explained(text: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        PluginChoice.parse(text)
