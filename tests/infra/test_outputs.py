"""Outputs of stacks are read at run time, and kept for a moment."""

import pytest

from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.outputs import output_of, outputs_of
from clickstream_dagster.infra.stacks import StackError
from tests.infra.small import Small


def test_an_output_is_read_from_the_stack(small: Small) -> None:
    apply(small.infrastructure())
    access = small.infrastructure().access
    assert output_of(small.project_id, "storage", "DataBucket", access) == small.bucket
    with pytest.raises(StackError, match="has no output Nothing"):
        output_of(small.project_id, "storage", "Nothing", access)


def test_a_stack_that_is_not_there_says_which_command_makes_it(small: Small) -> None:
    access = small.infrastructure().access
    command = f"clickstream infra apply {small.project_id} --module storage"
    with pytest.raises(StackError, match=f"is not there: run `{command}`"):
        outputs_of(small.project_id, "storage", access)
    apply(small.infrastructure())  # what was not there is not remembered
    assert outputs_of(small.project_id, "storage", access)


def test_an_apply_is_seen_at_once(small: Small) -> None:
    apply(small.infrastructure())
    access = small.infrastructure().access
    assert set(outputs_of(small.project_id, "storage", access)) == {"DataBucket"}
    small.edit("storage", "Outputs:", 'Outputs:\n  Other: {Description: More., Value: "1"}')
    assert set(outputs_of(small.project_id, "storage", access)) == {"DataBucket"}
    apply(small.infrastructure())
    assert set(outputs_of(small.project_id, "storage", access)) == {"DataBucket", "Other"}
