"""The table of regions is the seed's, and what a region lacks is told with the key that asks."""

import pytest

from clickstream_dagster.infra.regions import region_faults, regions

SERVERLESS = {"redshift_serverless": "infra.redshift"}
PROCESSING = {"processing": "infra.processing"}


def test_the_table_has_the_regions_of_seed_000():
    table = regions()
    assert len(table) == 23
    every = {"kafka", "kinesis", "s3"}
    assert all(every <= one.has for one in table.values())
    lacking = {code for code, one in table.items() if "processing" not in one.has}
    assert lacking == {"af-south-1", "ap-northeast-3", "eu-south-1"}
    without_serverless = {c for c, one in table.items() if "redshift_serverless" not in one.has}
    assert without_serverless == lacking | {
        *("ap-east-1", "me-south-1", "sa-east-1", "cn-north-1", "cn-northwest-1")
    }
    assert {c for c, one in table.items() if "redshift_provisioned" not in one.has} == lacking
    assert {c for c, one in table.items() if "global_accelerator" not in one.has} == {
        *("cn-north-1", "cn-northwest-1")
    }


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("us-east-1", {**SERVERLESS, **PROCESSING}),
        ("eu-south-1", {"kinesis": "infra.kinesis"}),
        ("me-south-1", {"redshift_provisioned": "infra.redshift"}),
    ],
)
def test_what_a_region_has_is_taken(code, needed):
    assert region_faults(code, needed, unlisted=False) == []


def test_what_a_region_lacks_is_told_with_its_key_and_where_it_is():
    (fault,) = region_faults("sa-east-1", {**SERVERLESS, **PROCESSING}, unlisted=False)
    assert fault.startswith(
        "infra.redshift: sa-east-1 (South America (Sao Paulo)) has no redshift serverless"
    )
    assert "eu-west-1" in fault
    assert "sa-east-1, " not in fault


def test_an_unlisted_region_needs_a_word():
    (fault,) = region_faults("il-central-1", PROCESSING, unlisted=False)
    assert fault.startswith("s3.region: il-central-1 is not in the table")
    assert region_faults("il-central-1", PROCESSING, unlisted=True) == []
    assert region_faults("sa-east-1", SERVERLESS, unlisted=True) == []


def test_china_has_no_accelerator_whatever_is_said():
    needed = {"global_accelerator": "infra.ingestion.global_accelerator"}
    for word in (False, True):
        (fault,) = region_faults("cn-north-1", needed, unlisted=word)
        assert fault.endswith("regions of China have no Global Accelerator: write false")
