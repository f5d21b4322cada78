"""What the services of a pipeline are in, by region: the table of seed 000, "Regions"."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import yaml

Service = Literal[
    "kafka",
    "kinesis",
    "s3",
    "processing",
    "redshift_serverless",
    "redshift_provisioned",
    "global_accelerator",
]
"""What the table tells of: a sink of the collector, processing, a warehouse, the accelerator."""

_CHINA = "cn-"


@dataclass(frozen=True, slots=True)
class Region:
    """A region of the table, and what is in it."""

    code: str
    name: str
    has: frozenset[Service]


@cache
def regions() -> dict[str, Region]:
    """Give the table by code of region. Raises ValueError for a service that nobody knows."""
    text = files(__package__).joinpath("regions.yaml").read_text()
    found = {}
    for code, row in yaml.safe_load(text).items():
        unknown = set(row["has"]) - set(get_args(Service))
        if unknown:
            raise ValueError(f"regions.yaml: {code} has {', '.join(sorted(unknown))}")
        found[code] = Region(code, row["name"], frozenset(row["has"]))
    return found


def region_faults(code: str, needed: dict[Service, str], unlisted: bool) -> list[str]:
    """Give what is wrong with a region, a sentence each; nothing for a pipeline that can run there.

    `needed` has the key of the YAML that asks for a service. `unlisted` is the word of whoever has
    looked up AWS's own list: the table may be behind it, what no region of China has stays refused.
    """
    region = regions().get(code)
    faults = []
    if code.startswith(_CHINA) and "global_accelerator" in needed:
        faults.append(
            f"{needed['global_accelerator']}: regions of China have no Global Accelerator: write "
            "false"
        )
    if unlisted:
        return faults
    if region is None:
        return [
            *faults,
            f"s3.region: {code} is not in the table of regions: write one of "
            f"{', '.join(sorted(regions()))}, or infra.unlisted_region: true when AWS's list of "
            "regional services has what the project needs",
        ]
    for service, key in needed.items():
        if service in region.has or (service == "global_accelerator" and faults):
            continue
        there = ", ".join(code for code, one in sorted(regions().items()) if service in one.has)
        faults.append(
            f"{key}: {code} ({region.name}) has no {service.replace('_', ' ')}: leave it out, "
            "write "
            f"another s3.region ({there}), or infra.unlisted_region: true when AWS has it by now"
        )
    return faults
