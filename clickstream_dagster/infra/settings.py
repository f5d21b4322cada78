"""What a project's YAML says about its infrastructure, as plain values.

A block that is None has no module. What the YAML says elsewhere (raw, lake, sink, warehouses, ...)
is in `Pipeline`, and not said again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.collector.settings import ProjectSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The VPC that is there already, and its subnets."""

    vpc_id: str
    public_subnets: tuple[str, ...]
    private_subnets: tuple[str, ...]
    unchecked_routes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Buckets and the key; `existing` ones are used as they are."""

    existing: bool
    kms_key: bool
    raw_infrequent_days: int | None
    raw_expire_days: int | None
    noncurrent_days: int
    results_expire_days: int
    logs_expire_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestion:
    """Load balancer and collectors (seed 000, "Ingestion endpoint")."""

    image: str
    server: Literal["fargate", "ec2"]
    architecture: Literal["x86_64", "arm64"]
    min_tasks: int
    max_tasks: int
    cpu: int
    memory_mb: int
    workers: int | None
    reading_mb: int
    spool_mibps: int
    instance_type: str
    warm_pool: int
    cpu_percent: int
    scale_in_minutes: int
    domain: str | None
    certificate_arn: str | None
    acknowledge_http: bool
    tls_policy: str
    internal: bool
    ingress_cidr: str
    oidc_secret_arn: str | None
    write_keys_secret_arn: str | None
    kafka_secret_arn: str | None
    access_logs: bool
    global_accelerator: bool
    listener_rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinesis:
    """Stream and Lambda function (seed 000, "Data sink - Kinesis"). No shards: on demand."""

    shards: int | None
    retention_hours: int
    batch_records: int
    batch_seconds: int
    new_stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The brokers, and the connector from the topic to S3 (seed 000, "Data sink - Kafka").

    Without `plugin` there is no connector.
    """

    cluster_arn: str | None
    security_group: str
    plugin: str | None
    min_workers: int
    max_workers: int
    capacity_units: int
    tasks: int
    batch_records: int
    batch_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessIngestion:
    """CloudFront and Firehose in place of load balancer and collectors (seed 002)."""

    data: str
    domain: str | None
    certificate_arn: str | None
    access_logs: bool
    buffer_mb: int
    buffer_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """The queue that S3 announces raw files to."""

    retention_days: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """The EMR Serverless application (seed 000, "Data processing")."""

    release: str
    architecture: Literal["x86_64", "arm64"]
    max_cpus: int
    max_memory_gb: int
    max_disk_gb: int
    idle_minutes: int
    in_vpc: bool
    new_database: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Redshift:
    """Redshift Serverless, or rights for a warehouse that is there (seed 000, "Data modeling")."""

    existing: bool
    workgroup_arn: str | None
    new_namespace: bool
    base_rpu: int
    max_rpu: int
    subnets: tuple[str, ...]
    access_security_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestration:
    """Dagster on ECS, and its database."""

    image: str
    architecture: Literal["x86_64", "arm64"]
    cpu: int
    memory_mb: int
    run_cpu: int
    run_memory_mb: int
    run_disk_gb: int
    database_class: str
    database_gb: int
    database_two_zones: bool
    database_backup_days: int
    database_deletion_protection: bool
    policy_arn: str | None
    bastion: bool
    access_security_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observability:
    """Dashboard, alarms, and whom they tell (seed 000, "Monitoring and alarms")."""

    emails: tuple[str, ...]
    cpu_percent: int
    pending_minutes: int
    silence_hours: int
    file_age_minutes: int
    segment_minutes: int
    warehouse_daily_rpu_hours: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Infra:
    """All of it. A module is made for each block that is there."""

    account: str | None
    unlisted_region: bool
    permissions_boundary_arn: str | None
    artifacts: str | None
    log_retention_days: int
    tags: Mapping[str, str]
    network: Network | None
    storage: Storage | None
    ingestion: Ingestion | None
    kinesis: Kinesis | None
    kafka: Kafka | None
    serverless_ingestion: ServerlessIngestion | None
    arrivals: Arrivals | None
    processing: Processing | None
    redshift: Redshift | None
    athena: bool
    orchestration: Orchestration | None
    observability: Observability | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmrBlock:
    """What `emr_serverless` says. Sizes are those of a job run at its largest."""

    artifacts: str
    application_id: str | None
    execution_role_arn: str | None
    region: str | None
    cpus: int
    memory_gb: int
    disk_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedshiftBlock:
    """What the warehouse `redshift` says."""

    database: str
    manifests: str
    port: int
    host: str | None
    workgroup: str | None
    cluster: str | None
    db_user: str | None
    secret_arn: str | None
    copy_role_arn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AthenaBlock:
    """What the warehouse `athena` says."""

    data: str
    results: str
    work_group: str
    scan_limit_bytes: int
    kms_key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What the other blocks of the YAML say, and templates take from there.

    `sink` is the kind of the collector's sink. `shortest_minutes` is the shortest window of the
    processing interval. `queue` tells whether arrivals come by a queue, `queue_url` its address
    if the YAML has it.
    """

    project_id: str
    app_ids: tuple[str, ...]
    raw: str
    lake: str
    s3: S3Access
    shortest_minutes: float
    sink: Literal["directory", "s3", "kinesis", "kafka"]
    kafka_brokers: tuple[str, ...]
    kafka_topic: str | None
    kinesis_stream: str | None
    collector: ProjectSettings
    origins: tuple[str, ...]
    write_keys_file: bool
    endpoint: str | None
    queue: bool
    queue_url: str | None
    engine: str
    duckdb: bool
    emr: EmrBlock | None
    redshift: RedshiftBlock | None
    athena: AthenaBlock | None
