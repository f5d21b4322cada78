"""What somebody has changed past CloudFormation is told, resource by resource."""

from clickstream_dagster.infra.apply import apply
from clickstream_dagster.infra.drift import Difference, find_drift
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small

DRIFTED = {
    "StackId": "s",
    "LogicalResourceId": "Queue",
    "PhysicalResourceId": "queue-1",
    "ResourceType": "AWS::SQS::Queue",
    "StackResourceDriftStatus": "MODIFIED",
    "PropertyDifferences": [
        {
            "PropertyPath": "/VisibilityTimeout",
            "ExpectedValue": "30",
            "ActualValue": "12",
            "DifferenceType": "NOT_EQUAL",
        }
    ],
    "Timestamp": "2026-01-01T00:00:00Z",
}


def test_drift_names_the_property_and_both_values(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    assert [one.status for one in find_drift(small.infrastructure())] == ["NOT_APPLIED"] * 2
    apply(small.infrastructure())
    assert [one.in_sync for one in find_drift(small.infrastructure())] == [True, True]
    name = small.infrastructure().stack_name("arrivals")
    cloudformation.drifts[name] = [DRIFTED]
    storage, arrivals = find_drift(small.infrastructure())
    assert storage.in_sync
    assert not arrivals.in_sync
    assert arrivals.resources[0].logical_id == "Queue"
    assert arrivals.resources[0].differences == (Difference("VisibilityTimeout", "30", "12"),)
    assert [one.module for one in find_drift(small.infrastructure(), ["storage"])] == ["storage"]
