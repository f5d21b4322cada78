"""What tests of infrastructure share: moto's CloudFormation completed, and a small project."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.small import Small


@pytest.fixture
def cloudformation(aws: str) -> Iterator[Any]:
    """What a test decides of CloudFormation on the endpoint: see CloudFormationEdge."""
    from tests.infra.cloudformation_edge import complete_cloudformation

    with complete_cloudformation() as edge:
        yield edge


@pytest.fixture
def small(tmp_path: Path, cloudformation: Any) -> Small:
    """A project of two small stacks, of which nothing is there yet."""
    return Small(tmp_path, f"p{uuid.uuid4().hex[:8]}")
