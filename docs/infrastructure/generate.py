"""Writes what follows from the code into the pages of this folder: settings, costs, regions.

Run it from the repository's folder after a change of `infra:`, a template or a price:
    .venv/bin/python docs/infrastructure/generate.py
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import dagster as dg

from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.components import infra_data as data
from clickstream_dagster.components import infra_ingestion as ingestion
from clickstream_dagster.components.infra import Infra
from clickstream_dagster.infra.cost import estimate
from clickstream_dagster.infra.cost_rules import Usage
from clickstream_dagster.infra.endpoints import ALWAYS
from clickstream_dagster.infra.prices import price_list
from clickstream_dagster.infra.regions import regions

FOLDER = Path(__file__).parent
RATES = (10, 100, 1000)
_MARK = re.compile(r"(<!-- generated: (?P<what>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
_SUBNETS = [f"subnet-0123456789abcdef{number}" for number in range(6)]

MODELS: dict[str, type[dg.Model]] = {
    "project": Infra,
    "network": data.InfraNetwork,
    "storage": data.InfraStorage,
    "ingestion": ingestion.InfraIngestion,
    "kinesis": ingestion.InfraKinesis,
    "kafka": ingestion.InfraKafka,
    "serverless ingestion": ingestion.InfraServerlessIngestion,
    "arrivals": ingestion.InfraArrivals,
    "processing": data.InfraProcessing,
    "redshift": data.InfraRedshift,
    "orchestration": data.InfraOrchestration,
    "observability": data.InfraObservability,
}

WITH_ALL = {
    "project_id": "shop",
    "app_ids": ["shop_web"],
    "start_date": "2026-11-01",
    "s3": {"region": "us-east-1"},
    "raw": "s3://my-bucket/raw/shop",
    "lake": "s3://my-bucket/lake",
    "arrivals": {"mode": "sqs"},
    "collector": {"sink": {"type": "kinesis", "stream": "shop", "buffer_seconds": 60}},
    "engine": "emr_serverless",
    "emr_serverless": {"artifacts": "s3://my-bucket/emr"},
    "warehouses": [
        {
            "engine": "redshift",
            "redshift": {"database": "shop", "manifests": "s3://my-bucket/redshift"},
        },
        {
            "engine": "athena",
            "athena": {"data": "s3://my-bucket/models", "results": "s3://my-bucket/results"},
        },
    ],
    "infra": {
        "network": {
            "vpc_id": "vpc-0123456789abcdef0",
            "public_subnets": _SUBNETS[:3],
            "private_subnets": _SUBNETS[3:],
        },
        "storage": {"kms_key": True},
        "ingestion": {"image": f"{_REGISTRY}/clickstream-collector:1.0", "acknowledge_http": True},
        "kinesis": {},
        "serverless_ingestion": {"data": "s3://my-bucket/beacon"},
        "arrivals": {},
        "processing": {},
        "redshift": {},
        "athena": True,
        "orchestration": {"image": f"{_REGISTRY}/clickstream-dagster:1.0"},
        "observability": {"emails": ["team@example.com"]},
    },
}
"""Modules with their defaults, whose costs the pages tell; of sinks Kinesis."""

WITH_KAFKA = {
    **WITH_ALL,
    "collector": {"sink": {"type": "kafka", "brokers": ["b-1.kafka.internal:9092"]}},
    "infra": {
        "network": WITH_ALL["infra"]["network"],  # type: ignore[index]
        "kafka": {
            "security_group": "sg-0123456789abcdef0",
            "plugin": "s3://my-bucket/plugins/s3-sink.zip",
        },
        "processing": {},
        "redshift": {},
        "athena": True,
        "arrivals": {},
    },
}


def main() -> None:
    """Write the pages."""
    for page in pages():
        page.write_text(generated(page.read_text()))


def pages() -> list[Path]:
    """Give the pages of this folder."""
    return sorted(FOLDER.glob("*.md"))


def generated(text: str) -> str:
    """Give a page with all that follows from the code as it is now."""

    def fill(found: re.Match[str]) -> str:
        subject, _, what = found["what"].rpartition(" ")
        return f"{found[1]}{_WRITERS[what](subject)}\n{found[3]}"

    return _MARK.sub(fill, text)


def settings(subject: str) -> str:
    """Give the settings of a block as a table."""
    # The schema is that of the derived model, which editors and `dg check yaml` use.
    schema = MODELS[subject].model().model_json_schema()  # type: ignore[attr-defined]
    needed = schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        default = "needed" if name in needed else _value(field.get("default"))
        examples = field.get("examples") or []
        if "$ref" in str(field) and name in Infra.model_fields and subject == "project":
            page = _PAGES.get(name)
            default = f"[block]({page})" if page else "block"
        rows.append([f"`{name}`", default, _text(field, examples)])
    return _table(["setting", "default", "what"], rows)


def costs(subject: str) -> str:
    """Give the costs of a module by requests a second, with default settings."""
    module = subject.replace(" ", "-")
    written = WITH_KAFKA if module == "sink-kafka" else WITH_ALL
    found = ClickstreamProject.from_attributes_dict(attributes=written).infrastructure()
    assert found is not None
    months = [
        f"{estimate(found, Usage(requests_per_second=float(rate))).of_module(module):,.0f}"
        for rate in RATES
    ]
    listed = price_list()
    return _table(
        ["requests a second", *(f"{rate:,}" for rate in RATES)], [["USD a month", *months]]
    ) + (
        f"\n\nAn estimate with default settings and requests of 1 KB, at public prices of "
        f"{listed['region']} ({listed['as_of']}); `clickstream infra plan` tells each position of "
        "yours."
    )


def total(subject: str) -> str:
    """Give the costs of a project of the first page, by module and requests a second."""
    infra = {
        key: value
        for key, value in WITH_ALL["infra"].items()  # type: ignore[attr-defined]
        if key != "serverless_ingestion"
    }
    found = ClickstreamProject.from_attributes_dict(
        attributes={**WITH_ALL, "infra": infra}
    ).infrastructure()
    assert found is not None
    months = [estimate(found, Usage(requests_per_second=float(rate))) for rate in RATES]
    rows = [
        [f"`{module.name}`", *(f"{month.of_module(module.name):,.0f}" for month in months)]
        for module in found.ordered()
    ]
    rows.append(["together", *(f"{month.usd:,.0f}" for month in months)])
    short = [
        estimate(found, Usage(requests_per_second=float(rate), hours_between_runs=1 / 6))
        for rate in RATES
    ]
    rows.append(["with windows of 10 minutes", *(f"{month.usd:,.0f}" for month in short)])
    return _table(["USD a month, requests a second", *(f"{rate:,}" for rate in RATES)], rows)


def regions_table(subject: str) -> str:
    """Give the table of regions."""
    columns = [
        ("MSK", "kafka"),
        ("Kinesis", "kinesis"),
        ("S3", "s3"),
        ("processing", "processing"),
        ("Redshift Serverless", "redshift_serverless"),
        ("Redshift clusters", "redshift_provisioned"),
        ("accelerator", "global_accelerator"),
    ]
    rows = [
        [f"`{one.code}`", one.name, *("yes" if key in one.has else "" for _, key in columns)]
        for one in regions().values()
    ]
    return _table(["region", "name", *(title for title, _ in columns)], rows)


def endpoints(subject: str) -> str:
    """Give the VPC endpoints that every task needs."""
    return ", ".join(f"`{name}`" for name in sorted(ALWAYS))


_WRITERS: dict[str, Callable[[str], str]] = {
    "settings": settings,
    "costs": costs,
    "total": total,
    "regions": regions_table,
    "endpoints": endpoints,
}
_OF_FACTORY = "__DAGSTER_UNSET_DEFAULT__"  # as the derived model writes an empty list or mapping
_PAGES = {
    "network": "settings.md#network",
    "storage": "storage.md",
    "ingestion": "ingestion.md",
    "kinesis": "sink-kinesis.md",
    "kafka": "sink-kafka.md",
    "serverless_ingestion": "serverless-ingestion.md",
    "arrivals": "arrivals.md",
    "processing": "processing.md",
    "redshift": "redshift.md",
    "orchestration": "orchestration.md",
    "observability": "observability.md",
}


def _value(default: object) -> str:
    if default in (None, [], {}, _OF_FACTORY):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _text(field: dict[str, object], examples: Iterable[object]) -> str:
    shown = next(iter(examples), None)
    text = str(field["description"])
    if shown is None or isinstance(shown, int | dict):
        return text
    value = ", ".join(map(str, shown)) if isinstance(shown, list) else str(shown)
    return f"{text} Example: `{value}`"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    def lines() -> Iterator[str]:
        yield f"| {' | '.join(head)} |"
        yield f"|{' --- |' * len(head)}"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"

    return "\n".join(lines())


if __name__ == "__main__":
    main()
