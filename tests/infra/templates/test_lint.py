"""cfn-lint finds nothing in a template, wherever it may be used."""

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from clickstream_dagster.infra.regions import Service, regions
from clickstream_dagster.infra.template import write
from tests.infra.templates.written import FOLDER, NAMES, written

NEEDED: dict[str, Service] = {
    "sink-kafka.yaml": "kafka",
    "sink-kinesis.yaml": "kinesis",
    "processing.yaml": "processing",
    "redshift.yaml": "redshift_serverless",
}
"""The service that a template is about, for the regions that have it; the rest is everywhere."""


REGIONS_AT_ONCE = 4
"""cfn-lint works a text out for each combination of what its variables are in any region: for one
of five variables, in 15 regions at once, 759,375 times."""


def found(template: str, *regions: str) -> list[str]:
    """Give cfn-lint's findings in regions, a line each."""
    findings = []
    for start in range(0, len(regions), REGIONS_AT_ONCE):
        places = [*regions[start : start + REGIONS_AT_ONCE]]
        settings: ManualArgs = {"regions": places}
        findings += [
            f"{match.rule.id} {match.linenumber}: {match.message}"
            for match in lint(template, regions=places, config=settings)
        ]
    return findings


@pytest.mark.parametrize("name", NAMES)
def test_a_template_has_no_finding(name: str) -> None:
    assert found(write(written(name)), "us-east-1") == []


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_a_template_has_no_finding_in_any_region(name: str) -> None:
    service = NEEDED.get(name, "s3")
    places = [code for code, region in regions().items() if service in region.has]
    assert len(places) > 10
    china = [code for code in places if code.startswith("cn-")]
    assert found(write(written(name)), *(code for code in places if code not in china)) == []
    assert found(write(written(name, in_china=True)), *china) == []


def test_a_type_that_one_region_lacks_is_found_wherever_that_stands() -> None:
    text = "Resources: {Global: {Type: AWS::GlobalAccelerator::Accelerator, Properties: {Name: a}}}"
    having = [code for code, region in regions().items() if "global_accelerator" in region.has]
    others = having[:REGIONS_AT_ONCE]
    assert found(text, *others) == []
    for places in (["cn-north-1", *others], [*others, "cn-north-1"]):
        (finding,) = found(text, *places)
        assert finding.startswith("E3006")
        assert "cn-north-1" in finding


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("Type: SPARK", "Sort: SPARK", "E3002"),
        ("${RawBucket}", "${RawBuckets}", "E1019"),
        ("!GetAtt ExecutionRole.Arn", "!GetAtt ExecutionRole.Urn", "E1010"),
    ],
)
def test_a_mistake_is_found(before: str, after: str, rule: str) -> None:
    text = (FOLDER / "processing.yaml").read_text()
    assert before in text
    assert rule in {
        finding.split()[0] for finding in found(text.replace(before, after), "us-east-1")
    }
