"""Projects as a defs.yaml has them, for tests of the block `infra`: small ones, and all of it."""

import copy
from collections.abc import Mapping
from typing import Any

from clickstream_dagster.components import ClickstreamProject
from clickstream_dagster.components.infra_pipeline import pipeline_of
from clickstream_dagster.infra.settings import Infra, Pipeline

ACCOUNT, REGION = "123456789012", "us-east-1"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/0a1b2c3d"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:shop-a1b2c3"
CLUSTER = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/shop/0a1b2c3d-4"
WORKGROUP = f"arn:aws:redshift-serverless:{REGION}:{ACCOUNT}:workgroup/0a1b2c3d"
VPC = "vpc-0123456789abcdef0"
PUBLIC = ["subnet-000000000000000a1", "subnet-000000000000000b1", "subnet-000000000000000c1"]
PRIVATE = ["subnet-000000000000000a2", "subnet-000000000000000b2", "subnet-000000000000000c2"]
GROUP = "sg-0123456789abcdef0"

BASE: Mapping[str, Any] = {
    "project_id": "shop",
    "app_ids": ["shop_web", "shop_ios"],
    "start_date": "2026-11-01",
    "raw": "s3://shop-data/raw/shop",
    "lake": "s3://shop-data/lake",
    "s3": {"region": REGION},
    "warehouses": [],
}
NETWORK = {"vpc_id": VPC, "public_subnets": PUBLIC, "private_subnets": PRIVATE}
INGESTION = {"image": f"{REGISTRY}/clickstream-collector:1.0", "acknowledge_http": True}
HTTPS = {
    "image": f"{REGISTRY}/clickstream-collector:1.0",
    "domain": "events.example.com",
    "certificate_arn": CERTIFICATE,
}
KAFKA_SINK = {
    "collector": {"sink": {"type": "kafka", "brokers": ["b-1.kafka.internal:9092"]}},
    "raw": "s3://shop-data/raw/shop",
}
REDSHIFT = {
    "engine": "redshift",
    "redshift": {"database": "shop", "manifests": "s3://shop-data/redshift"},
}
ATHENA = {
    "engine": "athena",
    "athena": {"data": "s3://shop-data/models", "results": "s3://shop-data/results"},
}
EMR = {"engine": "emr_serverless", "emr_serverless": {"artifacts": "s3://shop-data/emr"}}

QUICKSTART: Mapping[str, Any] = {
    # Seed 000, "Getting started", step 2.
    "project_id": "quickstart",
    "interval": "10 minutes",
    "freshness_days": 35,
    "collector": {"sink": {"type": "kinesis", "stream": "quickstart", "buffer_seconds": 60}},
    **EMR,
    "warehouses": [REDSHIFT, ATHENA],
    "infra": {
        "network": NETWORK,
        "storage": {},
        "ingestion": INGESTION,
        "kinesis": {"batch_records": 1000, "batch_seconds": 60},
        "processing": {},
        "redshift": {"base_rpu": 8},
        "athena": True,
        "observability": {"emails": ["email@example.com"]},
    },
}

EVERYTHING: Mapping[str, Any] = {
    **QUICKSTART,
    "arrivals": {"mode": "sqs"},
    "collector": {
        **QUICKSTART["collector"],
        "origins": ["https://www.example.com", "https://*.example.com"],
        "oidc": {"issuer": "https://id.example.com", "audience": "clickstream"},
        "trusted_proxies": ["10.0.0.0/8"],
        "body_kb": 512,
        "body_seconds": 20,
        "path": "/in",
        "sync": "interval",
        "dev": True,
        "write_keys": "keys.yaml",
    },
    "infra": {
        **QUICKSTART["infra"],
        "account": ACCOUNT,
        "permissions_boundary_arn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
        "artifacts": "s3://shop-code/clickstream",
        "log_retention_days": 365,
        "tags": {"team": "growth"},
        "storage": {"kms_key": True, "raw_infrequent_days": 30, "raw_expire_days": 365},
        "ingestion": {
            **HTTPS,
            "server": "ec2",
            "architecture": "arm64",
            "instance_type": "c7g.large",
            "min_tasks": 2,
            "max_tasks": 6,
            "cpu": 2048,
            "memory_mb": 3072,
            "warm_pool": 2,
            "oidc_secret_arn": SECRET,
            "write_keys_secret_arn": SECRET,
            "access_logs": True,
            "global_accelerator": True,
        },
        "serverless_ingestion": {"data": "s3://shop-beacon/requests", "access_logs": True},
        "arrivals": {"retention_days": 4, "attempts": 3},
        "redshift": {"base_rpu": 32, "max_rpu": 64, "access_security_groups": [GROUP]},
        "orchestration": {
            "image": f"{REGISTRY}/clickstream-dagster:1.0",
            "bastion": True,
            "access_security_groups": [GROUP],
        },
    },
}


def component(attributes: Mapping[str, Any] = {}, /, **more: Any) -> ClickstreamProject:
    """Make a component of attributes, over a minimum that is on S3."""
    written = copy.deepcopy({**BASE, **attributes, **more})
    return ClickstreamProject.from_attributes_dict(attributes=written)


def values(attributes: Mapping[str, Any] = {}, /, **more: Any) -> tuple[Infra, Pipeline]:
    """Give what rules, checks and modules take."""
    made = component(attributes, **more)
    assert made.infra is not None
    return made.infra.values(), pipeline_of(made)


def changed(attributes: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Give attributes with one of them otherwise; `path` has dots, a value of None takes it out."""
    written = copy.deepcopy({**BASE, **attributes})
    *parents, last = path.split(".")
    place = written
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return written
