"""The part of a project's YAML about what takes events in on AWS."""

from typing import Annotated, Literal

import dagster as dg

from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.infra_fields import number


class InfraIngestion(dg.Model, dg.Resolvable):
    """A load balancer and collectors on ECS. What they do is in the block `collector`."""

    image: Annotated[
        str,
        describe(
            description="Image of the collector, made of infra/collector/Containerfile.",
            examples=["123456789012.dkr.ecr.eu-west-1.amazonaws.com/clickstream-collector:1.0"],
        ),
    ]
    server: Annotated[
        Literal["fargate", "ec2"],
        describe(description="What tasks run on: fargate, or machines of the project's own."),
    ] = "fargate"
    architecture: Annotated[
        Literal["x86_64", "arm64"],
        describe(description="Processors that the image is built for."),
    ] = "x86_64"
    min_tasks: Annotated[
        int, number("ingestion.min_tasks", "Minimum capacity: tasks that always run.", 2)
    ] = 2
    max_tasks: Annotated[int, number("ingestion.max_tasks", "Maximum capacity: most tasks.", 4)] = 4
    cpu: Annotated[
        int,
        describe(
            description="CPU units of a task, 1024 for a virtual CPU: 256, 512, 1024, 2048, 4096, "
            "8192 or 16384.",
            examples=[256],
        ),
    ] = 256
    memory_mb: Annotated[
        int,
        describe(
            description="Memory of a task in MiB, 2 to 8 times the CPU units on fargate.",
            examples=[512],
        ),
    ] = 512
    workers: Annotated[
        int | None,
        number(
            "ingestion.workers", "Worker processes of a task. Default: one for a virtual CPU.", 1
        ),
    ] = None
    reading_mb: Annotated[
        int,
        number(
            "ingestion.reading_mb",
            "Most that bodies on their way may have together, in a worker.",
            128,
        ),
    ] = 128
    spool_mibps: Annotated[
        int,
        number(
            "ingestion.spool_mibps",
            "Throughput of the spool that is paid for by the month. 0: each byte is paid for.",
            10,
        ),
    ] = 0
    instance_type: Annotated[
        str,
        describe(
            description="For ec2: type of the machines, with processors of architecture: for arm64 "
            "one of Graviton, as c7g.large.",
            examples=["c6i.large"],
        ),
    ] = "c6i.large"
    warm_pool: Annotated[
        int,
        number("ingestion.warm_pool", "For ec2: machines that are ready, but stopped.", 2),
    ] = 0
    cpu_percent: Annotated[
        int,
        number("ingestion.cpu_percent", "Use of the CPU that the number of tasks follows.", 50),
    ] = 50
    scale_in_minutes: Annotated[
        int,
        number("ingestion.scale_in_minutes", "Quiet time before a task is taken away.", 45),
    ] = 45
    domain: Annotated[
        str | None,
        describe(
            description="Domain name of the endpoint; HTTPS goes with certificate_arn.",
            examples=["events.example.com"],
        ),
    ] = None
    certificate_arn: Annotated[
        str | None,
        describe(
            description="Certificate of ACM for the domain, in s3.region.",
            examples=["arn:aws:acm:eu-west-1:123456789012:certificate/0a1b2c3d"],
        ),
    ] = None
    acknowledge_http: Annotated[
        bool,
        describe(
            description="true: events go without encryption, which anybody on the way can read "
            "and change. For a trial only."
        ),
    ] = False
    tls_policy: Annotated[
        str,
        describe(
            description="TLS policy of the load balancer. The default speaks TLS 1.2, too, since "
            "phones before Android 10 have no TLS 1.3."
        ),
    ] = "ELBSecurityPolicy-TLS13-1-2-2021-06"
    internal: Annotated[
        bool,
        describe(description="true: only the VPC, and what is connected with it, reaches it."),
    ] = False
    ingress_cidr: Annotated[
        str,
        describe(description="Addresses that may reach the endpoint.", examples=["203.0.113.0/24"]),
    ] = "0.0.0.0/0"
    oidc_secret_arn: Annotated[
        str | None,
        describe(
            description="Sign-in at the load balancer, with HTTPS only: a secret with issuer, "
            "userEndpoint, authorizationEndpoint, tokenEndpoint, appClientId and "
            "appClientSecret. For apps without a browser use collector.oidc.",
            examples=["arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-oidc-a1b2c3"],
        ),
    ] = None
    write_keys_secret_arn: Annotated[
        str | None,
        describe(
            description="Secret with the text of the file collector.write_keys: a write key for "
            "each app that needs one, `app: key`.",
            examples=["arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-keys-a1b2c3"],
        ),
    ] = None
    kafka_secret_arn: Annotated[
        str | None,
        describe(
            description="Secret with username and password for a sink of type kafka with security "
            "scram.",
            examples=["arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_shop-a1b2c3"],
        ),
    ] = None
    access_logs: Annotated[
        bool,
        describe(description="Keep a line for each request in the bucket of logs of storage."),
    ] = False
    global_accelerator: Annotated[
        bool,
        describe(
            description="Fixed addresses near the clients, by AWS Global Accelerator; not in China."
        ),
    ] = False
    listener_rules: Annotated[
        int,
        number(
            "ingestion.listener_rules",
            "Rules that a load balancer of the account may have, AWS's quota; an app takes one.",
            100,
        ),
    ] = 100


class InfraKinesis(dg.Model, dg.Resolvable):
    """The stream that collector.sink names, and the Lambda function that makes raw files of it."""

    shards: Annotated[
        int | None,
        number("kinesis.shards", "Shards of provisioned mode. Default: on demand.", 2),
    ] = None
    retention_hours: Annotated[
        int, number("kinesis.retention_hours", "Hours that the stream keeps a record.", 24)
    ] = 24
    batch_records: Annotated[
        int, number("kinesis.batch_records", "Batch size: most records of a raw file.", 10_000)
    ] = 10_000
    batch_seconds: Annotated[
        int,
        number("kinesis.batch_seconds", "Age at which a raw file is written at the latest.", 60),
    ] = 300
    new_stream: Annotated[
        bool,
        describe(
            description="Make the stream. false: it is there, as after clickstream infra destroy, "
            "which keeps it."
        ),
    ] = True


class InfraKafka(dg.Model, dg.Resolvable):
    """The brokers that collector.sink names, and the connector that makes raw files."""

    security_group: Annotated[
        str,
        describe(
            description="Security group of the brokers, which is opened for collectors and "
            "connector.",
            examples=["sg-0123456789abcdef0"],
        ),
    ]
    plugin: Annotated[
        str | None,
        describe(
            description="Confluent's S3 sink connector, as a zip file in a bucket of yours, for "
            "the connector. Default: no connector is made.",
            examples=["s3://my-bucket/plugins/confluentinc-kafka-connect-s3.zip"],
        ),
    ] = None
    cluster_arn: Annotated[
        str | None,
        describe(
            description="MSK cluster that collector.sink.brokers are of. Default: brokers of your "
            "own.",
            examples=["arn:aws:kafka:eu-west-1:123456789012:cluster/shop/0a1b2c3d-4"],
        ),
    ] = None
    min_workers: Annotated[
        int, number("kafka.min_workers", "Workers of the connector that always run.", 1)
    ] = 1
    max_workers: Annotated[int, number("kafka.max_workers", "Most workers.", 2)] = 2
    capacity_units: Annotated[
        Literal[1, 2, 4, 8],
        describe(description="Units of a worker, each a virtual CPU and 4 GB: 1, 2, 4 or 8."),
    ] = 1
    tasks: Annotated[
        int,
        number("kafka.tasks", "Tasks; more than the topic has partitions are idle.", 2),
    ] = 2
    batch_records: Annotated[
        int, number("kafka.batch_records", "Batch size: most messages of a raw file.", 50_000)
    ] = 50_000
    batch_seconds: Annotated[
        int,
        number(
            "kafka.batch_seconds", "Sink maximum interval: age at which a raw file is written.", 300
        ),
    ] = 300


class InfraServerlessIngestion(dg.Model, dg.Resolvable):
    """CloudFront, an edge function and Firehose in place of servers; costs nothing when idle."""

    data: Annotated[
        str,
        describe(
            description="S3 prefix of the Parquet files that Firehose writes.",
            examples=["s3://my-bucket/clickstream/beacon"],
        ),
    ]
    domain: Annotated[
        str | None,
        describe(
            description="Domain name of the endpoint. Default: one of cloudfront.net.",
            examples=["events.example.com"],
        ),
    ] = None
    certificate_arn: Annotated[
        str | None,
        describe(
            description="Certificate of ACM for the domain, in us-east-1.",
            examples=["arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d"],
        ),
    ] = None
    access_logs: Annotated[
        bool,
        describe(description="Keep a line for each request in the bucket of logs of storage."),
    ] = False
    buffer_mb: Annotated[
        int,
        number("serverless_ingestion.buffer_mb", "Size at which Firehose writes a file.", 128),
    ] = 128
    buffer_seconds: Annotated[
        int,
        number("serverless_ingestion.buffer_seconds", "Age at which it does.", 900),
    ] = 900


class InfraArrivals(dg.Model, dg.Resolvable):
    """The queue that S3 announces raw files to; its URL is read by the arrival sensor."""

    retention_days: Annotated[
        int, number("arrivals.retention_days", "Days for which a message waits.", 14)
    ] = 14
    attempts: Annotated[
        int,
        number(
            "arrivals.attempts",
            "Times that a message is received before it goes to the dead-letter queue.",
            5,
        ),
    ] = 5
