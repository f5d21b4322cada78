"""What a month costs is worked out from the templates, at a public price list."""

from io import StringIO

import pytest
from rich.console import Console

from clickstream_dagster.infra.cost import Costs, estimate
from clickstream_dagster.infra.cost_rules import Usage
from clickstream_dagster.infra.cost_tables import show_costs
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.job_cost import job_cost
from clickstream_dagster.infra.module import Module
from clickstream_dagster.infra.prices import kept_prices, price, price_list

SINK = {
    "ProjectId": "shop",
    "StreamName": "shop",
    "RawBucket": "shop-raw",
    "RawPrefix": "raw/",
    "CodeBucket": "shop-code",
}


def sink(**parameters: str) -> Costs:
    module = Module(
        "sink-kinesis",
        "sink-kinesis.yaml",
        SINK | parameters,
        code={"FunctionCode": "lambda/kinesis_to_s3"},
    )
    return estimate(Infrastructure("shop", (module,), artifacts="s3://shop-code"), Usage(10))


def usd(costs: Costs, what: str) -> float:
    (line,) = (line for line in costs.lines if line.what == what)
    return line.usd


def test_a_stream_on_demand_costs_its_hours_and_its_bytes() -> None:
    costs = sink()
    gigabytes = 10 * 3_600 * 730 / 1e6  # of 1 KB each
    assert usd(costs, "stream, hours") == pytest.approx(730 * 0.04)
    assert usd(costs, "stream, data in") == pytest.approx(gigabytes * 0.08)
    assert costs.usd == pytest.approx(sum(line.usd for line in costs.lines))
    # The seed solution states 36 for the same stream and traffic.
    assert costs.reference == {"sink-kinesis": 36}
    assert 30 < costs.of_module("sink-kinesis") < 40


def test_a_stream_of_shards_costs_each_of_them() -> None:
    assert usd(sink(Shards="2"), "stream, shards") == pytest.approx(2 * 730 * 0.015)


def test_a_resource_whose_condition_is_off_costs_nothing() -> None:
    def keys(create: str) -> float:
        module = Module("storage", "storage.yaml", {"ProjectId": "shop", "CreateKmsKey": create})
        costs = estimate(Infrastructure("shop", (module,)))
        return sum(line.usd for line in costs.lines if line.what == "key")

    assert (keys("true"), keys("false")) == (1, 0)


def test_job_runs_cost_what_docs_cost_says() -> None:
    assert job_cost(10, 1).usd == pytest.approx(11.4, abs=0.1)
    assert job_cost(1_000, 24).executors == 11
    assert job_cost(1_000, 24).usd == pytest.approx(19.7, abs=0.2)


def test_the_table_shows_positions_assumptions_and_the_seeds_numbers() -> None:
    console = Console(width=160, record=True, file=StringIO())
    show_costs(console, sink())
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert any(line.endswith("stream, hours 730.00 0.04 29.20") for line in lines)
    assert any(line.startswith("sink-kinesis ") and line.endswith(" 36") for line in lines)
    assert any(f"as of {price_list()['as_of']}" in line for line in lines)
    assert any("10, all day and night" in line for line in lines)


def test_a_machine_that_the_list_does_not_have_is_no_guess() -> None:
    assert price("ec2/c6i.large") == 0.085
    assert price("ec2/x9.huge") is None
    with pytest.raises(KeyError):
        price("nothing")


def test_each_price_has_a_unit_and_a_source() -> None:
    for name, about in price_list()["prices"].items():
        assert about["usd"] > 0, name
        assert about["per"], name
        assert about["source"].startswith("https://aws.amazon.com/"), name
    assert kept_prices()["AWS::S3::Bucket"].startswith("$")
