"""Templates are read with their functions, and parts are put in as values, never as text."""

from pathlib import Path

import pytest
import yaml

from clickstream_dagster.infra.intrinsics import UNKNOWN, Values
from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.template import TemplateError, parse, render, write

BASE = """\
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Wide: {Type: String, Default: "no"}
  Zones: {Type: CommaDelimitedList, Default: "a, b"}
Conditions:
  IsWide: !Equals [!Ref Wide, "yes"]
  IsNarrow: !Not [!Condition IsWide]
Resources:
  Listener:
    Type: AWS::X::Listener
    Properties:
      Policy: {Version: 2012-10-17}
      Name: !Sub "${AWS::StackName}-listener"
      Port: !GetAtt Balancer.Port.Number
  Balancer:
    Type: AWS::X::Balancer
    Condition: IsWide
"""

PART = """\
Resources:
  Rule:
    Type: AWS::X::Rule
    DependsOn: Target
    Properties:
      Listener: !Ref Listener
      Target: !GetAtt Target.Arn
      App: "{{ app }}"
      Priority: "{{ priority }}"
      Secret: "{{resolve:secretsmanager:some:SecretString:id}}"
  Target:
    Type: AWS::X::Target
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = tmp_path / "cloudformation" / "parts"
    parts.mkdir(parents=True)
    (parts.parent / "base.yaml").write_text(BASE)
    (parts / "rule.yaml").write_text(PART)
    return tmp_path


def module(*parts: Part) -> Module:
    return Module("ingestion", "base.yaml", {}, parts=parts)


def rule(name: str = "Web", **values: str | int) -> Part:
    return Part("rule.yaml", name, {"app": "web", "priority": 10} | values)


def test_functions_get_their_long_form_and_dates_stay_texts(folder: Path) -> None:
    template = render(module(), folder)
    assert template["AWSTemplateFormatVersion"] == "2010-09-09"
    properties = template["Resources"]["Listener"]["Properties"]
    assert properties["Policy"] == {"Version": "2012-10-17"}
    assert properties["Name"] == {"Fn::Sub": "${AWS::StackName}-listener"}
    assert properties["Port"] == {"Fn::GetAtt": ["Balancer", "Port.Number"]}
    assert yaml.safe_load(write(template)) == template
    assert parse(write(template), "again") == template


def test_a_part_is_put_in_once_for_each_item(folder: Path) -> None:
    resources = render(module(rule(), rule("Phone", app="ph", priority=20)), folder)["Resources"]
    assert list(resources)[2:] == ["RuleWeb", "TargetWeb", "RulePhone", "TargetPhone"]
    phone = resources["RulePhone"]
    assert phone["DependsOn"] == "TargetPhone"
    assert phone["Properties"] == {
        "Listener": {"Ref": "Listener"},
        "Target": {"Fn::GetAtt": ["TargetPhone", "Arn"]},
        "App": "ph",
        "Priority": 20,
        "Secret": "{{resolve:secretsmanager:some:SecretString:id}}",
    }


@pytest.mark.parametrize(
    "app", ['x"}, Evil: {', "!Ref Listener", "{{ priority }}", "line\nbreak", "007", "yes"]
)
def test_a_value_stays_the_text_that_it_is(folder: Path, app: str) -> None:
    text = write(render(module(rule(app=app)), folder))
    assert parse(text, "again")["Resources"]["RuleWeb"]["Properties"]["App"] == app


def test_the_same_template_gives_the_same_text(folder: Path) -> None:
    assert write(render(module(rule()), folder)) == write(render(module(rule()), folder))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([rule(), rule()], "RuleWeb is in base.yaml twice"),
        ([rule("web-1")], "'web-1' has more than letters and digits"),
        ([rule(other=1)], "has no placeholder for other"),
        ([Part("rule.yaml", "Web", {"app": "web"})], "nothing is given for {{ priority }}"),
        ([Part("nothing.yaml", "Web", {})], r"nothing\.yaml is missing"),
    ],
)
def test_a_part_that_does_not_fit_is_told(folder: Path, parts: list[Part], message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        render(module(*parts), folder)


def test_a_placeholder_inside_of_a_text_is_refused(folder: Path) -> None:
    file = folder / "cloudformation" / "parts" / "rule.yaml"
    file.write_text(PART.replace('"{{ app }}"', '"x-{{ app }}"'))
    with pytest.raises(TemplateError, match="a placeholder is a whole value"):
        render(module(rule()), folder)


@pytest.mark.parametrize("text", ["a: [", "- 1", "Description: x", "Resources: []"])
def test_what_is_no_template_is_told(text: str) -> None:
    with pytest.raises(TemplateError, match=r"here\.yaml"):
        parse(text, "here.yaml")


def test_conditions_are_worked_out_as_far_as_they_are_known(folder: Path) -> None:
    template = render(module(), folder)
    assert set(Values(template, {}).resources()) == {"Listener"}
    assert set(Values(template, {"Wide": "yes"}).resources()) == {"Listener", "Balancer"}
    unknown = Values(template, {"Wide": UNKNOWN})
    assert unknown.condition("IsNarrow") is UNKNOWN
    assert set(unknown.resources()) == {"Listener", "Balancer"}


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ({"Ref": "Zones"}, ["a", "b"]),
        ({"Fn::Select": [1, {"Ref": "Zones"}]}, "b"),
        ({"Fn::Join": ["-", [{"Ref": "Wide"}, "x"]]}, "no-x"),
        ({"Fn::If": ["IsNarrow", {"Size": 1}, {"Size": 2}]}, {"Size": 1}),
        ({"Fn::Or": [{"Condition": "IsWide"}, {"Fn::Equals": ["a", "a"]}]}, True),
        ({"Fn::And": [{"Condition": "IsWide"}, {"Ref": "Elsewhere"}]}, False),
        ({"Fn::GetAtt": ["Balancer", "Arn"]}, UNKNOWN),
    ],
)
def test_values_are_worked_out(folder: Path, value: object, known: object) -> None:
    assert Values(render(module(), folder), {}).resolve(value) == known
