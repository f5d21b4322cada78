"""What tests of single templates share: a network, and projects of one module."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest


@pytest.fixture
def vpc(aws: str) -> dict[str, str]:
    """A VPC with three private subnets, as templates are told of them."""
    ec2 = boto3.client("ec2")
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=made, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("abc")
    ]
    return {"VpcId": made, "PrivateSubnetIds": ",".join(subnets)}


@pytest.fixture
def make(cloudformation: Any) -> Iterator[Callable[..., Any]]:
    """Make a project of one module: see `one_of`."""
    from tests.infra.moto_gaps import without_gaps
    from tests.infra.templates.one import one_of

    with without_gaps():
        yield one_of
