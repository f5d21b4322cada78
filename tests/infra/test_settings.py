"""The block `infra` of a YAML: what is taken, and each rule of seed 000 with its key and remedy."""

import re

import pytest
import yaml
from dagster.components.resolved.errors import ResolutionException
from pydantic import ValidationError

from clickstream_dagster.infra.bounds import BOUNDS
from clickstream_dagster.infra.rules import LONGEST_PROJECT_ID
from clickstream_dagster.infra.rules_ingestion import processors_of
from tests.infra.written import (
    ACCOUNT,
    ATHENA,
    BASE,
    EMR,
    EVERYTHING,
    GROUP,
    HTTPS,
    INGESTION,
    KAFKA_SINK,
    NETWORK,
    PRIVATE,
    PUBLIC,
    QUICKSTART,
    REDSHIFT,
    SECRET,
    changed,
    component,
    values,
)


def faults(attributes) -> str:
    """Give what is said about attributes that are wrong."""
    # Of the derived model or the component, as the fault is in a value's type or in a rule.
    with pytest.raises((ValidationError, ResolutionException)) as told:
        component(attributes)
    return str(told.value)


def test_the_seeds_getting_started_is_taken_as_it_is():
    infra, pipeline = values(QUICKSTART)
    assert (infra.kinesis.shards, infra.kinesis.batch_records) == (None, 1000)
    assert (infra.ingestion.min_tasks, infra.redshift.base_rpu) == (2, 8)
    assert infra.network.private_subnets == tuple(PRIVATE)
    assert (pipeline.sink, pipeline.shortest_minutes) == ("kinesis", 10)
    assert pipeline.collector.segment_seconds == 60


def test_nothing_is_made_that_the_yaml_does_not_name():
    assert component().infrastructure() is None
    assert [one.name for one in component(infra={"storage": {}}).infrastructure().modules] == [
        "storage"
    ]


def test_all_faults_are_told_at_once():
    written = changed(QUICKSTART, "infra.redshift.base_rpu", 12)
    written["infra"]["ingestion"]["acknowledge_http"] = False
    written["infra"]["network"]["public_subnets"] = PUBLIC[:1]
    written["interval"] = "*/3 * * * *"
    told = faults(written)
    for key in (
        "infra.redshift.base_rpu 12",
        "infra.ingestion.certificate_arn",
        "infra.network.public_subnets: 1 of them",
        "interval has windows of 3 minutes",
    ):
        assert key in told


OTHER_REGION = "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b2c3d"

# One line for each rule: key, value, and what is said. Sections are seed 000's.
RULES = [
    # Prerequisites, Supported AWS Regions
    ("s3", {}, "infra needs s3.region: write the region"),
    ("s3.region", "eu-south-1", "infra.processing with engine emr_serverless: eu-south-1 (Europe"),
    ("s3.region", "ap-east-1", "infra.redshift: ap-east-1 (Asia Pacific (Hong Kong)) has no reds"),
    ("s3.region", "xx-east-1", "s3.region: xx-east-1 is not in the table of regions: write one"),
    ("infra.account", "12345", "infra.account '12345': write the 12 digits of the account"),
    ("infra.log_retention_days", 31, "infra.log_retention_days 31: write one of 1, 3, 5"),
    ("infra.permissions_boundary_arn", "boundary", "infra.permissions_boundary_arn 'boundary': w"),
    ("infra.tags", {"aws:team": "a"}, "infra.tags 'aws:team': write a name that does not begin"),
    ("project_id", "s" * 41, f"write {LONGEST_PROJECT_ID} at most with infra"),
    # Ingestion endpoint: subnets
    ("infra.network", None, "infra.network: ingestion, redshift are in a VPC: write vpc_id"),
    ("infra.network.vpc_id", "default", "infra.network.vpc_id 'default': write the id of a VPC"),
    ("infra.network.public_subnets", PUBLIC[:1], "public_subnets: 1 of them: write 2 or more"),
    ("infra.network.private_subnets", PRIVATE[:1], "private_subnets: 1 of them: write 2 or more"),
    (
        "infra.network.private_subnets",
        [*PRIVATE, "subnet-000000000000000d2"],
        "infra.network.private_subnets: 4 of them: write 2 or 3 for ingestion, each in a zone",
    ),
    ("infra.network.private_subnets", ["a", "b"], "infra.network.private_subnets 'a': write the"),
    ("infra.network.public_subnets", [*PUBLIC, PUBLIC[0]], "public_subnets has a subnet twice"),
    ("infra.network.public_subnets", PRIVATE, "is in public_subnets, too: write subnets without"),
    # Ingestion endpoint: capacity
    ("infra.ingestion.min_tasks", 0, "infra.ingestion.min_tasks 0: write 1 to 1,000 tasks"),
    ("infra.ingestion.min_tasks", 5, "min_tasks 5 is more than max_tasks 4: write max_tasks 5"),
    ("infra.ingestion.warm_pool", 1, "infra.ingestion.warm_pool is of machines: write server: ec2"),
    ("infra.ingestion.cpu", 300, "infra.ingestion.cpu 300: write 256, 512, 1024"),
    ("infra.ingestion.memory_mb", 700, "memory_mb 700: a task of 256 units has 512 to 2,048 MiB"),
    ("infra.ingestion.image", "collector", "infra.ingestion.image 'collector': write registry/na"),
    ("infra.ingestion.cpu_percent", 95, "infra.ingestion.cpu_percent 95: write 10 to 90 percent"),
    # Ingestion endpoint: HTTPS, path, authentication, accelerator, access logs
    ("infra.ingestion.acknowledge_http", False, "write domain and certificate_arn, or acknowledge"),
    ("infra.ingestion.domain", "events.example.com", "a domain needs a certificate of ACM"),
    ("infra.ingestion.domain", "https://a.b/c", "infra.ingestion.domain 'https://a.b/c': write"),
    ("infra.ingestion.certificate_arn", OTHER_REGION, "is in eu-west-1: write the ARN of one in"),
    ("infra.ingestion.oidc_secret_arn", SECRET, "OIDC needs HTTPS: write domain and certificate"),
    ("infra.ingestion.oidc_secret_arn", "oidc", "infra.ingestion.oidc_secret_arn 'oidc': write"),
    ("infra.ingestion.listener_rules", 4, "2 apps need 5 rules of the load balancer: have AWS"),
    ("infra.ingestion.ingress_cidr", "10.0.0.999/8", "write a range of addresses, as 203.0.113.0/"),
    ("infra.ingestion.ingress_cidr", "10.0.0.1", "ingress_cidr '10.0.0.1': write a range of addre"),
    ("infra.ingestion.ingress_cidr", "10.0.0.1/8", "10.0.0.1/8 has host bits set: write a range"),
    ("collector.path", "/a%b", "infra.ingestion and collector.path '/a%b': write / and letters"),
    ("collector.write_keys", "keys.yaml", "infra.ingestion.write_keys_secret_arn: a task has no"),
    # Data sink - Kinesis
    ("infra.kinesis.shards", 0, "infra.kinesis.shards 0: write 1 to 10,000 shards"),
    ("infra.kinesis.shards", 10_001, "infra.kinesis.shards 10001: write 1 to 10,000 shards"),
    ("infra.kinesis.retention_hours", 23, "infra.kinesis.retention_hours 23: write 24 to 8,760"),
    ("infra.kinesis.batch_records", 10_001, "batch_records 10001: write 1 to 10,000 records"),
    ("infra.kinesis.batch_seconds", 301, "infra.kinesis.batch_seconds 301: write 0 to 300 sec"),
    ("collector.sink", {"type": "s3"}, "infra.kinesis: the collector's sink is s3: write collec"),
    # Data processing
    ("interval", "*/5 * * * *", "interval has windows of 5 minutes: write 6 minutes or more"),
    ("interval", "0,58 * * * *", "interval has windows of 2 minutes: write 6 minutes or more"),
    ("interval", "5 minutes", "interval '5 minutes' is too short; write 6 minutes or more"),
    ("infra.processing.max_cpus", 8, "a job run of emr_serverless has up to 16 vCPU: write 16"),
    ("infra.processing.idle_minutes", 0, "infra.processing.idle_minutes 0: write 1 to 10,080"),
    ("infra.processing.release", "emr7", "infra.processing.release 'emr7': write a release of EMR"),
    ("emr_serverless.application_id", "00f1", "infra.processing makes what emr_serverless.applic"),
    ("emr_serverless.region", "eu-west-1", "emr_serverless.region is eu-west-1: leave that out"),
    # Data modeling
    (
        "infra.redshift.base_rpu",
        12,
        "infra.redshift.base_rpu 12: write 8 to 512 RPU, in steps of 8",
    ),
    ("infra.redshift.base_rpu", 520, "infra.redshift.base_rpu 520: write 8 to 512 RPU"),
    ("infra.redshift.base_rpu", 0, "infra.redshift.base_rpu 0: write 8 to 512 RPU"),
    ("infra.redshift.base_rpu", 64, "max_rpu 32 is less than base_rpu 64: write 64 or more"),
    ("infra.redshift.subnets", PRIVATE[:2], "2 of them: Redshift Serverless needs 3, in 3 avai"),
    ("infra.redshift.existing", True, "infra.redshift.existing: the warehouse that is there has"),
    ("warehouses", [ATHENA], "infra.redshift: the models need the block, too: write warehouses"),
    (
        "warehouses",
        [REDSHIFT, {**ATHENA, "athena": {**ATHENA["athena"], "kms_key_id": "alias/shop"}}],
        "infra.athena and kms_key_id of the warehouse: results are encrypted with the key of",
    ),
    ("warehouses", [REDSHIFT], "infra.athena: the models need the block, too"),
    # Monitoring and alarms
    ("infra.observability.emails", [], "infra.observability.emails: alarms that nobody gets"),
    ("infra.observability.emails", ["a@b"], "emails 'a@b': write an e-mail address, as team@ex"),
    ("infra.observability.emails", ["a@b.de"] * 2, "emails has an address twice: write each once"),
    ("infra.observability.silence_hours", 0, "infra.observability.silence_hours 0: write 1 to"),
    # Data location
    ("raw", "s3://Shop_Data/raw", "raw: the bucket 'Shop_Data': write a bucket of 3 to 63"),
    ("emr_serverless.artifacts", "s3://shop-data/raw/shop/_emr", "lies in raw, whose files expire"),
    ("infra.storage.raw_expire_days", 0, "infra.storage.raw_expire_days 0: write 1 to 36,500"),
    ("infra.storage.raw_infrequent_days", 29, "raw_infrequent_days 29: write 30 to 36,500 days"),
    ("s3.kms_key_id", "alias/shop", "infra and s3.kms_key_id 'alias/shop': write the ARN of a KMS"),
]


@pytest.mark.parametrize(("key", "value", "message"), RULES)
def test_a_wrong_setting_is_told_with_its_key_and_a_remedy(key, value, message):
    assert message in faults(changed(QUICKSTART, key, value))


MORE = [
    # key and value over a project of its own
    (
        {"infra": {"network": NETWORK, "ingestion": {**HTTPS, "acknowledge_http": True}}},
        "infra.ingestion.acknowledge_http is for an endpoint without HTTPS",
    ),
    (
        {"infra": {"network": NETWORK, "ingestion": {**INGESTION, "access_logs": True}}},
        "infra.ingestion.access_logs: the bucket of logs is made by infra.storage",
    ),
    (
        {"infra": {"network": NETWORK, "ingestion": {**INGESTION, "kafka_secret_arn": SECRET}}},
        "infra.ingestion.kafka_secret_arn is for collector.sink.security: scram",
    ),
    (
        {
            "raw": "raw",
            "lake": "lake",
            "infra": {"network": NETWORK, "ingestion": INGESTION},
        },
        "collector.sink: what a task writes to a directory stays in it",
    ),
    (
        {**KAFKA_SINK, "infra": {"network": NETWORK, "ingestion": INGESTION}},
        "infra.kafka: collectors have to reach the brokers: write security_group",
    ),
    (
        {
            **KAFKA_SINK,
            "infra": {
                "network": NETWORK,
                "kafka": {
                    "security_group": "default",
                    "cluster_arn": "shop",
                    "plugin": "plugin.zip",
                    "batch_records": 50_001,
                    "batch_seconds": 3_001,
                    "min_workers": 3,
                },
            },
        },
        "infra.kafka.batch_records 50001: write 1 to 50,000 records\n"
        "infra.kafka.batch_seconds 3001: write 0 to 3,000 seconds\n"
        "infra.kafka.cluster_arn 'shop': write the ARN of an MSK cluster",
    ),
    (
        {
            "collector": {"sink": {"type": "kafka", "brokers": ["b:9096"], "security": "scram"}},
            "infra": {
                "network": NETWORK,
                "ingestion": INGESTION,
                "kafka": {"security_group": GROUP, "plugin": "s3://shop-data/plugin.zip"},
            },
        },
        "infra.ingestion.kafka_secret_arn: security scram signs in: write the ARN of a secret",
    ),
    (
        {
            "collector": {"sink": {"type": "kafka", "brokers": ["b:9098"], "security": "iam"}},
            "infra": {"network": NETWORK, "kafka": {"security_group": GROUP}},
        },
        "infra.kafka.cluster_arn: rights of security iam are on a cluster of MSK",
    ),
    (
        {
            **KAFKA_SINK,
            "raw": "s3://shop-data/raw/events",
            "infra": {
                "network": NETWORK,
                "kafka": {"security_group": GROUP, "plugin": "s3://shop-data/plugin.zip"},
            },
        },
        "write raw: s3://shop-data/raw/events/shop, or another collector.sink.topic",
    ),
    (
        {
            "s3": {"region": "eu-west-1"},
            "infra": {
                "serverless_ingestion": {
                    "data": "s3://shop-data/beacon",
                    "certificate_arn": OTHER_REGION,
                    "buffer_mb": 32,
                    "buffer_seconds": 901,
                }
            },
        },
        "infra.serverless_ingestion.buffer_mb 32: write 64 to 128 MiB\n"
        "infra.serverless_ingestion.buffer_seconds 901: write 0 to 900 seconds\n"
        "infra.serverless_ingestion: edge functions are made in us-east-1 only",
    ),
    (
        {
            "s3": {"region": "us-east-1"},
            "app_ids": [f"app_{number:0100}" for number in range(20)],
            "collector": {"oidc": {"issuer": "https://id.example.com", "audience": "clickstream"}},
            "infra": {
                "artifacts": "s3://shop-code/clickstream",
                "serverless_ingestion": {"data": "s3://shop/beacon"},
            },
        },
        "infra.serverless_ingestion and collector.oidc: the edge function asks nobody who he is: "
        "leave it out, or write ingestion in its place\n"
        "infra.serverless_ingestion and app_ids: together they have 2,099 letters, and CloudFront "
        "tells a function 1,783",
    ),
    (
        {
            "s3": {"region": "cn-north-1"},
            "infra": {"network": NETWORK, "ingestion": {**INGESTION, "global_accelerator": True}},
        },
        "infra.ingestion.global_accelerator: regions of China have no Global Accelerator",
    ),
    (
        {"raw": "data/raw", "infra": {"storage": {}, "processing": {}}},
        "infra: storage, processing reach data on S3: write raw: s3://bucket/prefix",
    ),
    (
        {
            "warehouses": [{"engine": "duckdb"}],
            "s3": {"region": "us-east-1", "profile": "mine"},
            "infra": {"network": NETWORK, "orchestration": {"image": INGESTION["image"]}},
        },
        "infra.orchestration and warehouses: a DuckDB file goes with its task: write redshift, "
        "athena, or warehouses: []\n"
        "infra.orchestration and s3.profile: Dagster's tasks have a role and no profiles",
    ),
    (
        {
            "collector": {"sink": {"type": "kafka", "brokers": ["a:9092", "b:9094"]}},
            "infra": {"network": NETWORK, "kafka": {"security_group": GROUP}},
        },
        "infra.kafka and collector.sink.brokers: ports 9092, 9094: write brokers of one port",
    ),
    (
        {
            "s3": {
                "region": "us-east-1",
                "kms_key_id": "arn:aws:kms:eu-west-1:123456789012:key/1",
            },
            "infra": {"storage": {}},
        },
        "infra and s3.kms_key_id is in eu-west-1: write the ARN of one in s3.region, us-east-1",
    ),
    (
        {
            "raw": "raw",
            "infra": {"artifacts": "code", "serverless_ingestion": {"data": "beacon"}},
        },
        "infra.serverless_ingestion.data 'beacon': write a place on S3, as s3://my-bucket/clickst"
        "ream\ninfra.serverless_ingestion puts raw files on S3: write raw: s3://bucket/prefix\n"
        "infra.artifacts 'code': write a place on S3",
    ),
    ({"infra": {"arrivals": {}}}, "infra.arrivals makes a queue that nobody reads: write arrivals"),
    (
        {
            "arrivals": {
                "mode": "sqs",
                "queue_url": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/shop",
            },
            "infra": {"arrivals": {}},
        },
        "arrivals.queue_url: infra.arrivals makes the queue",
    ),
    (
        {
            "s3": {"region": "us-east-1", "kms_key_id": "arn:aws:kms:us-east-1:123456789012:key/1"},
            "infra": {"storage": {"kms_key": True}},
        },
        "infra.storage.kms_key makes a key, and s3.kms_key_id names one",
    ),
    (
        {
            "warehouses": [
                {
                    "engine": "redshift",
                    "redshift": {
                        **REDSHIFT["redshift"],
                        "host": "team.example.com",
                        "cluster": "analytics",
                    },
                }
            ],
            "infra": {"network": NETWORK, "redshift": {}},
        },
        "infra.redshift makes a workgroup, and the warehouse names a cluster: write existing: true",
    ),
    (
        {
            "warehouses": [REDSHIFT],
            "infra": {
                "network": NETWORK,
                "orchestration": {
                    "image": "dagster",
                    "run_cpu": 3,
                    "database_class": "micro",
                    "database_gb": 10,
                },
            },
        },
        "redshift needs either workgroup (Serverless) or cluster (provisioned): write one",
    ),
    (
        {
            "infra": {
                "network": NETWORK,
                "orchestration": {
                    "image": "dagster",
                    "run_cpu": 3,
                    "database_class": "micro",
                    "database_gb": 10,
                },
            }
        },
        "infra.orchestration.database_gb 10: write 20 to 6,144 GB\n"
        "infra.orchestration.image 'dagster': write registry/name:tag",
    ),
]


@pytest.mark.parametrize(("attributes", "message"), MORE)
def test_blocks_that_do_not_go_together_are_told(attributes, message):
    assert message in faults(attributes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (EMR, "emr_serverless needs application_id: write it, or have infra.processing make it"),
        ({"warehouses": [REDSHIFT]}, "redshift needs either workgroup (Serverless) or cluster"),
        ({"warehouses": [ATHENA]}, "athena needs work_group: write its name, or infra.athena: tr"),
        ({"arrivals": {"mode": "sqs"}}, "arrivals by sqs needs queue_url: write the URL of the"),
    ],
)
def test_an_id_that_no_stack_tells_has_to_be_written(attributes, message):
    assert message in faults(attributes)


ON_MACHINES = changed(QUICKSTART, "infra.ingestion.server", "ec2")


@pytest.mark.parametrize(
    ("architecture", "instance_type", "message"),
    [
        (
            "arm64",
            "c6i.large",
            "infra.ingestion.instance_type c6i.large has processors of x86_64, infra.ingestion."
            "architecture is arm64: write a type with those, as c7g.large, or architecture: x86_64",
        ),
        (
            "x86_64",
            "m8g.xlarge",
            "infra.ingestion.instance_type m8g.xlarge has processors of arm64, infra.ingestion."
            "architecture is x86_64: write a type with those, as c6i.large, or architecture: arm64",
        ),
        ("arm64", "large", "infra.ingestion.instance_type 'large': write a type of EC2 instance"),
    ],
)
def test_machines_of_other_processors_than_the_images_are_told(
    architecture, instance_type, message
):
    written = changed(ON_MACHINES, "infra.ingestion.architecture", architecture)
    assert message in faults(changed(written, "infra.ingestion.instance_type", instance_type))


def test_the_type_of_machines_does_not_matter_on_fargate():
    written = changed(QUICKSTART, "infra.ingestion.architecture", "arm64")
    assert values(written)[0].ingestion.instance_type == "c6i.large"


@pytest.mark.parametrize(
    ("instance_types", "processors"),
    [
        ("a1.large c6g.large c7gn.xlarge t4g.small m8gd.large im4gn.large is4gen.large", "arm64"),
        ("x2gd.large hpc7g.4xlarge g5g.xlarge r7gd.metal i8g.large", "arm64"),
        ("c6i.large m7a.large t3.micro m5dn.large g4dn.xlarge g5.xlarge gr6.4xlarge", "x86_64"),
        ("c7i-flex.large u-6tb1.metal u7i-12tb.224xlarge x2iedn.xlarge hpc6id.32xlarge", "x86_64"),
    ],
)
def test_the_name_of_a_type_of_machines_tells_its_processors(instance_types, processors):
    assert {processors_of(one) for one in instance_types.split()} == {processors}


def test_a_region_that_the_table_does_not_have_is_taken_at_ones_word():
    written = changed(QUICKSTART, "s3.region", "ap-east-1")
    assert component(changed(written, "infra.unlisted_region", True)).infrastructure()


def test_an_internal_endpoint_needs_no_public_subnets():
    written = changed(QUICKSTART, "infra.network.public_subnets", [])
    assert "infra.network.public_subnets: 0 of them" in faults(written)
    assert values(changed(written, "infra.ingestion.internal", True))[0].ingestion.internal


def test_every_bound_holds_at_its_ends():
    infra, _ = values(EVERYTHING)
    for key, bound in BOUNDS.items():
        block, name = key.split(".")
        settings = getattr(infra, block)
        if settings is not None:
            assert hasattr(settings, name), key
        assert bound.holds(bound.least)
        assert bound.holds(bound.most)
        assert not bound.holds(bound.least - 1)
        assert not bound.holds(bound.most + 1)


def test_the_least_and_the_most_of_the_seed_are_taken():
    written = changed(QUICKSTART, "infra.kinesis.shards", 10_000)
    written["infra"]["kinesis"].update(batch_records=1, batch_seconds=0, retention_hours=8_760)
    written["infra"]["redshift"].update(base_rpu=512, max_rpu=512)
    assert values(written)[0].kinesis.shards == 10_000


def test_values_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SHOP_VPC", "vpc-00000000")
    written = changed(QUICKSTART, "infra.network.vpc_id", "{{ env.SHOP_VPC }}")
    import dagster as dg
    from dagster.components.testing import create_defs_folder_sandbox

    from clickstream_dagster.components import ClickstreamProject

    assert dg.Resolvable in ClickstreamProject.__mro__
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=ClickstreamProject,
            defs_path="quickstart",
            defs_yaml_contents={
                "type": "clickstream_dagster.components.ClickstreamProject",
                "attributes": {**written, "warehouses": []}
                | {
                    "infra": {
                        key: value
                        for key, value in written["infra"].items()
                        if key not in ("redshift", "athena")
                    }
                },
            },
        )
        with sandbox.load_component_and_build_defs(defs_path=folder) as (found, defs):
            assert found.infra.network.vpc_id == "vpc-00000000"
            keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
            assert "quickstart/infra/ingestion" in keys
    assert re.match("vpc-", "vpc-00000000")


def test_a_tag_of_digits_or_of_true_stays_what_is_written():
    from dagster.components.testing import create_defs_folder_sandbox

    from clickstream_dagster.components import ClickstreamProject

    tags = {"cost_center": "1234", "shared": "True", "team": "growth", "code": "0042"}
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=ClickstreamProject,
            defs_path="quickstart",
            defs_yaml_contents={
                "type": "clickstream_dagster.components.ClickstreamProject",
                "attributes": {**BASE, "infra": {"storage": {}, "tags": tags}},
            },
        )
        with sandbox.load_component_and_build_defs(defs_path=folder) as (found, _):
            assert found.infrastructure().tags == tags


def test_the_seeds_project_reads_as_yaml():
    written = yaml.safe_load(yaml.safe_dump({**BASE, **QUICKSTART}))
    assert component(written).project_id == "quickstart"
