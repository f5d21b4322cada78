"""Each module gives its template exactly the parameters that it has, for every kind of project."""

import re

import pytest

from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.inputs import Inputs, require_fixed
from clickstream_dagster.infra.module import Output
from clickstream_dagster.infra.modules import modules_of
from clickstream_dagster.infra.modules_ingestion import listener_rules
from clickstream_dagster.infra.stacks import Stack
from clickstream_dagster.infra.template import infra_folder, parse, render
from clickstream_dagster.infra.values import repository_arn
from tests.infra.written import (
    ACCOUNT,
    ATHENA,
    BASE,
    CLUSTER,
    EMR,
    EVERYTHING,
    GROUP,
    HTTPS,
    INGESTION,
    NETWORK,
    PRIVATE,
    QUICKSTART,
    REDSHIFT,
    REGION,
    REGISTRY,
    SECRET,
    WORKGROUP,
    changed,
    component,
    values,
)


def kafka(security, **block):
    port = {"plaintext": 9092, "tls": 9094, "scram": 9096, "iam": 9098}[security]
    return {
        "collector": {
            "sink": {
                "type": "kafka",
                "brokers": [f"b-1.internal:{port}", f"b-2.internal:{port}"],
                "security": security,
                "batch_records": 5_000,
            }
        },
        "infra": {
            "network": NETWORK,
            "storage": {},
            "ingestion": {**INGESTION, **({"kafka_secret_arn": SECRET} if block else {})},
            "kafka": {"security_group": GROUP},
        },
    }


PLUGIN = {"security_group": GROUP, "plugin": "s3://shop-code/s3-sink.zip", "cluster_arn": CLUSTER}

PROJECTS = {
    "storage alone": {"infra": {"storage": {}}},
    "buckets that exist": {**EMR, "infra": {"storage": {"existing": True}, "processing": {}}},
    "the seed's getting started": QUICKSTART,
    "everything": EVERYTHING,
    "sink S3 on Fargate": {"infra": {"network": NETWORK, "ingestion": INGESTION}},
    "sink S3 on EC2 with HTTPS": {
        "infra": {"network": NETWORK, "ingestion": {**HTTPS, "server": "ec2", "warm_pool": 1}}
    },
    "an endpoint of the VPC's own": {
        "infra": {"network": NETWORK, "ingestion": {**INGESTION, "internal": True}}
    },
    "Kinesis with shards": {
        "collector": {"sink": {"type": "kinesis", "stream": "events"}},
        "infra": {"network": NETWORK, "ingestion": INGESTION, "kinesis": {"shards": 4}},
    },
    "a stream that exists": {
        "collector": {"sink": {"type": "kinesis", "stream": "events"}},
        "infra": {"network": NETWORK, "ingestion": INGESTION},
    },
    "brokers of one's own": kafka("plaintext"),
    "MSK with TLS and a connector": changed(kafka("tls"), "infra.kafka", PLUGIN),
    "MSK with IAM and a connector": changed(kafka("iam"), "infra.kafka", PLUGIN),
    "MSK with SCRAM": kafka("scram", secret=True),
    "serverless ingestion": {
        "infra": {"storage": {}, "serverless_ingestion": {"data": "s3://shop-data/beacon"}}
    },
    "arrivals": {"arrivals": {"mode": "sqs"}, "infra": {"arrivals": {}}},
    "processing in Dagster's tasks": {"infra": {"processing": {}}},
    "processing in the VPC": {**EMR, "infra": {"network": NETWORK, "processing": {"in_vpc": True}}},
    "a workgroup that exists": {
        "warehouses": [
            {
                "engine": "redshift",
                "redshift": {
                    **REDSHIFT["redshift"],
                    "workgroup": "team",
                    "host": "team.example.com",
                },
            }
        ],
        "infra": {"redshift": {"existing": True, "workgroup_arn": WORKGROUP}},
    },
    "a cluster that exists": {
        "warehouses": [
            {
                "engine": "redshift",
                "redshift": {
                    **REDSHIFT["redshift"],
                    "cluster": "analytics",
                    "db_user": "etl",
                    "host": "analytics.example.com",
                },
            }
        ],
        "infra": {"redshift": {"existing": True}},
    },
    "Athena alone": {"warehouses": [ATHENA], "infra": {"athena": True}},
    "Dagster alone": {
        "infra": {
            "network": NETWORK,
            "orchestration": {"image": f"{REGISTRY}/clickstream-dagster:1.0"},
            "observability": {"emails": ["a@example.com"]},
        }
    },
}


def made(attributes):
    return {module.name: module for module in modules_of(*values(attributes))}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_templates_parameters_are_exactly_given(name):
    for module in made(PROJECTS[name]).values():
        declared = render(module)["Parameters"]
        assert set(module.parameters) | set(module.code) == set(declared), module.name
        assert not set(module.parameters) & set(module.code)
        assert set(module.fixed) <= set(declared)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_template_takes_every_value(name):
    for module in made(PROJECTS[name]).values():
        declared = render(module)["Parameters"]
        for parameter, value in module.parameters.items():
            if isinstance(value, Output):
                continue
            rule = declared[parameter]
            where = f"{module.name}.{parameter} {value!r}"
            assert isinstance(value, str), where
            if "AllowedPattern" in rule:
                assert re.fullmatch(rule["AllowedPattern"], value), where
            if "AllowedValues" in rule:
                assert value in [str(one) for one in rule["AllowedValues"]], where
            if rule["Type"] == "Number":
                assert rule.get("MinValue", 0) <= float(value), where
                assert float(value) <= rule.get("MaxValue", float("inf")), where
            if rule["Type"].startswith(("AWS::", "List<AWS::")):
                assert value, where


@pytest.mark.parametrize("name", PROJECTS)
def test_an_output_that_is_taken_is_given_by_its_module(name):
    modules = made(PROJECTS[name])
    for module in modules.values():
        for parameter, value in module.parameters.items():
            if isinstance(value, Output):
                where = f"{module.name}.{parameter}: {value}"
                assert value.module in modules, where
                assert value.name in render(modules[value.module])["Outputs"], where
    component(PROJECTS[name]).infrastructure().ordered()  # no circle, nothing missing


def test_a_change_that_cannot_be_is_refused_with_its_key_and_the_reason(tmp_path):
    before = made(EVERYTHING)["ingestion"]
    after = made(changed(EVERYTHING, "infra.network.vpc_id", "vpc-00000000"))["ingestion"]
    stack = Stack(
        id="1",
        name="Clickstream-ingestion-quickstart",
        status="CREATE_COMPLETE",
        parameters={k: v for k, v in before.parameters.items() if isinstance(v, str)},
    )
    inputs = Inputs(after, render(after), after.parameters)
    with pytest.raises(SettingError) as told:
        require_fixed(inputs, stack)
    assert "can't change from 'vpc-0123456789abcdef0' to 'vpc-00000000'" in str(told.value)
    assert "infra.network.vpc_id: the load balancer and the spool can't move: write" in str(
        told.value
    )


@pytest.mark.parametrize(
    ("module", "key"),
    [("processing", "lake"), ("processing", "raw"), ("redshift", "lake"), ("athena", "lake")],
)
def test_data_does_not_move_where_roles_cannot_follow(module, key):
    before = made(EVERYTHING)[module]
    after = made(changed(EVERYTHING, key, f"s3://another-bucket/{key}"))[module]
    stack = Stack(
        id="1",
        name=f"Clickstream-{module}-quickstart",
        status="CREATE_COMPLETE",
        parameters={k: v for k, v in before.parameters.items() if isinstance(v, str)},
    )
    require_fixed(Inputs(before, render(before), before.parameters), stack)
    with pytest.raises(SettingError, match=f"to 'another-bucket', {key}: .* no longer reach"):
        require_fixed(Inputs(after, render(after), after.parameters), stack)


def test_a_key_that_data_was_written_with_does_not_go():
    key = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d"
    own = made(changed(BASE, "infra", {"processing": {}}))["processing"]
    with_key = made(
        changed(BASE, "infra", {"processing": {}})
        | {"s3": {"region": "us-east-1", "kms_key_id": key}}
    )["processing"]

    def stack(module):
        return Stack("S", "1", "CREATE_COMPLETE", parameters=dict(module.parameters))

    require_fixed(Inputs(with_key, render(with_key), with_key.parameters), stack(own))
    require_fixed(Inputs(with_key, render(with_key), with_key.parameters), stack(with_key))
    with pytest.raises(SettingError, match=f"from '{key}' to '', infra.storage.kms_key or s3"):
        require_fixed(Inputs(own, render(own), own.parameters), stack(with_key))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("infra.kafka.plugin", "s3://shop-code/s3-sink-2.zip"),
        ("collector.sink.brokers", ["b-1.internal:9094"]),
        ("infra.network.private_subnets", [*reversed(PRIVATE)]),
    ],
)
def test_a_connector_is_not_replaced_by_one_of_its_own_name(key, value):
    project = PROJECTS["MSK with TLS and a connector"]
    before = made(project)["sink-kafka"].parameters
    module = made(changed(project, key, value))["sink-kafka"]
    stack = Stack(
        id="1", name="Clickstream-sink-kafka-shop", status="CREATE_COMPLETE", parameters=before
    )
    require_fixed(Inputs(module, render(module), before), stack)
    with pytest.raises(SettingError, match=f"{key}: MSK Connect can't change it"):
        require_fixed(Inputs(module, render(module), module.parameters), stack)


def test_every_template_is_of_a_module():
    folder = infra_folder() / "cloudformation"
    used = {module.template for name in PROJECTS for module in made(PROJECTS[name]).values()}
    assert used == {file.name for file in folder.glob("*.yaml")}
    parts = {
        part.file
        for name in PROJECTS
        for module in made(PROJECTS[name]).values()
        for part in module.parts
    }
    assert parts == {file.name for file in (folder / "parts").glob("*.yaml")}
    for file in sorted(folder.glob("*.yaml")):
        assert parse(file.read_text(), file.name)["Parameters"]["ProjectId"]


def test_the_modules_are_those_that_the_yaml_names():
    assert list(made(QUICKSTART)) == [
        "storage",
        "sink-kinesis",
        "ingestion",
        "processing",
        "redshift",
        "athena",
        "observability",
    ]
    assert list(made(PROJECTS["brokers of one's own"])) == ["storage", "ingestion"]


def test_what_the_collector_is_told_reaches_its_task():
    given = made(EVERYTHING)["ingestion"].parameters
    told = {
        "CollectPath": "/in",
        "Origins": "https://www.example.com,https://*.example.com",
        "TrustedProxies": "10.0.0.0/8",
        "BodyKb": "512",
        "BodySeconds": "20",
        "Sync": "interval",
        "Dev": "true",
        "OidcIssuer": "https://id.example.com",
        "OidcAudience": "clickstream",
        "WriteKeysSecretArn": SECRET,
        "AppIds": "shop_web,shop_ios",
        "AnyApp": "false",
        "BufferMb": "30",
        "BufferSeconds": "60",
        "SinkType": "kinesis",
        "SinkBatchRecords": "500",
        "Workers": "2",
    }
    assert {name: given[name] for name in told} == told


def test_kafka_is_told_to_collectors_and_connector():
    modules = made(PROJECTS["MSK with IAM and a connector"])
    shared = {
        "KafkaBrokers": "b-1.internal:9098,b-2.internal:9098",
        "KafkaTopic": "shop",
        "KafkaSecurity": "iam",
        "KafkaPort": "9098",
        "KafkaSecurityGroupId": GROUP,
        "KafkaClusterArn": CLUSTER,
    }
    for name in ("ingestion", "sink-kafka"):
        assert {key: modules[name].parameters[key] for key in shared} == shared
    assert modules["ingestion"].parameters["SinkBatchRecords"] == "5000"
    # The connector puts the topic behind it: together they are the project's raw.
    assert modules["sink-kafka"].parameters["TopicsDir"] == "raw"
    assert modules["sink-kafka"].parameters["PluginKey"] == "s3-sink.zip"


def test_a_new_app_gets_a_rule_and_changes_nothing_else():
    before = made(QUICKSTART)
    after = made(changed(QUICKSTART, "app_ids", ["shop_web", "shop_ios", "shop_android"]))
    assert before.keys() == after.keys()
    for name, module in after.items():
        assert module.parameters == before[name].parameters
    old, new = before["ingestion"].parts, after["ingestion"].parts
    assert new[: len(old)] == old
    assert [rule.values["app_id"] for rule in new[len(old) :]] == ["shop_android"]


def test_a_hundred_apps_have_rules_of_their_own():
    apps = tuple(f"app_{number}" for number in range(1_000))
    rules = listener_rules(apps)
    priorities = [rule.values["priority"] for rule in rules]
    assert len(set(priorities)) == len(apps)
    assert all(10 <= one <= 50_000 for one in priorities)
    assert len({rule.name for rule in rules}) == len(apps)
    assert all(rule.name.isalnum() for rule in rules)
    assert rules[:50] == listener_rules(apps[:50])


def test_apps_whose_letters_are_the_same_have_rules_of_their_own():
    names = {rule.name for rule in listener_rules(("a.b", "a-b", "a_b", "ab"))}
    assert len(names) == 4


def test_each_bucket_is_made_once_with_what_expires_in_it():
    parts = {part.values["bucket"]: part.values for part in made(EVERYTHING)["storage"].parts}
    assert set(parts) == {"shop-data", "shop-code", "shop-beacon"}
    assert parts["shop-data"]["raw_rule"] == "Enabled"
    assert parts["shop-data"]["announced"] == "true"
    assert parts["shop-code"]["raw_rule"] == "Disabled"
    assert parts["shop-code"]["announced"] == "false"
    assert made(PROJECTS["buckets that exist"])["storage"].parts == ()


def test_the_key_is_the_stacks_or_that_of_the_yaml():
    assert made(QUICKSTART)["processing"].parameters["KmsKeyArn"] == Output("storage", "KmsKeyArn")
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b"
    named = changed(PROJECTS["Athena alone"], "s3.kms_key_id", arn)
    assert made(named)["athena"].parameters["KmsKeyArn"] == arn


def test_a_new_workgroup_has_the_projects_name_or_that_of_the_yaml():
    assert made(QUICKSTART)["redshift"].parameters["WorkgroupName"] == "clickstream-quickstart"
    named = changed(
        QUICKSTART,
        "warehouses",
        [{**REDSHIFT, "redshift": {**REDSHIFT["redshift"], "workgroup": "team"}}, ATHENA],
    )
    assert made(named)["redshift"].parameters["WorkgroupName"] == "team"


def test_a_workgroup_is_in_its_own_subnets_if_it_has_some():
    subnets = [*PRIVATE[:2], "subnet-000000000000000d2"]
    given = made(changed(QUICKSTART, "infra.redshift.subnets", subnets))["redshift"].parameters
    assert given["PrivateSubnetIds"] == ",".join(subnets)


@pytest.mark.parametrize(
    ("image", "arn"),
    [
        (f"{REGISTRY}/team/collector:1.0", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/team/coll"),
        (
            f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/collector@sha256:{'0' * 64}",
            f"arn:aws-cn:ecr:cn-north-1:{ACCOUNT}:repository/collector",
        ),
        ("public.ecr.aws/team/collector:1.0", ""),
    ],
)
def test_the_repository_of_an_image_is_known_by_its_address(image, arn):
    assert repository_arn(image).startswith(arn)
    assert bool(repository_arn(image)) is bool(arn)
