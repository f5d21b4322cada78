"""The part of a project's YAML about buckets, processing and warehouses on AWS."""

from typing import Annotated, Literal

import dagster as dg
from pydantic import Field

from clickstream_dagster.components.fields import describe
from clickstream_dagster.components.infra_fields import number


class InfraNetwork(dg.Model, dg.Resolvable):
    """The VPC that everything with an address is in. It is there already, and not changed."""

    vpc_id: Annotated[str, describe(description="The VPC.", examples=["vpc-0123456789abcdef0"])]
    private_subnets: Annotated[
        list[str],
        describe(
            description="Private subnets (a NAT gateway is their way out) or isolated ones (VPC "
            "endpoints are), two or more in two or more availability zones: tasks and databases "
            "are in them.",
            examples=[["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]],
        ),
    ]
    public_subnets: Annotated[
        list[str],
        describe(
            description="Public subnets in the zones of the private ones, for the load balancer "
            "of ingestion.",
            examples=[["subnet-0123456789abcdef2", "subnet-0123456789abcdef3"]],
        ),
    ] = Field(default_factory=list)
    unchecked_routes: Annotated[
        bool,
        describe(
            description="true: take it at your word that subnets are public and private, and reach "
            "what they must, as where a firewall is between. Zones are checked all the same."
        ),
    ] = False


class InfraStorage(dg.Model, dg.Resolvable):
    """The buckets that the YAML names, a bucket of logs, and a key."""

    existing: Annotated[
        bool,
        describe(
            description="true: the buckets are there, in s3.region, and are used as they are. Only "
            "the bucket of logs is made."
        ),
    ] = False
    kms_key: Annotated[
        bool,
        describe(
            description="Make a KMS key that encrypts data and logs. false: the key of "
            "s3.kms_key_id does, or S3's own."
        ),
    ] = False
    raw_infrequent_days: Annotated[
        int | None,
        number(
            "storage.raw_infrequent_days",
            "Days after which raw files move to infrequent access. Default: never.",
            90,
        ),
    ] = None
    raw_expire_days: Annotated[
        int | None,
        number(
            "storage.raw_expire_days",
            "Days after which raw files are deleted. Default: never.",
            365,
        ),
    ] = None
    noncurrent_days: Annotated[
        int,
        number(
            "storage.noncurrent_days",
            "Days for which what is deleted or replaced can be brought back.",
            30,
        ),
    ] = 30
    results_expire_days: Annotated[
        int,
        number("storage.results_expire_days", "Days after which query results are deleted.", 7),
    ] = 7
    logs_expire_days: Annotated[
        int,
        number(
            "storage.logs_expire_days",
            "Days after which access logs, and logs and messages of job runs, are deleted.",
            90,
        ),
    ] = 90


class InfraProcessing(dg.Model, dg.Resolvable):
    """What batches run on: the EMR Serverless application, its role, the Glue database."""

    release: Annotated[str, describe(description="Release of EMR.", examples=["emr-7.9.0"])] = (
        "emr-7.9.0"
    )
    architecture: Annotated[
        Literal["x86_64", "arm64"],
        describe(
            description="Processors of the workers, as clickstream package emr --architecture has "
            "them."
        ),
    ] = "x86_64"
    max_cpus: Annotated[
        int, number("processing.max_cpus", "Most virtual CPUs of all job runs together.", 100)
    ] = 100
    max_memory_gb: Annotated[
        int, number("processing.max_memory_gb", "Most memory of all job runs together.", 400)
    ] = 400
    max_disk_gb: Annotated[
        int, number("processing.max_disk_gb", "Most disk of all job runs together.", 1_000)
    ] = 1_000
    idle_minutes: Annotated[
        int,
        number("processing.idle_minutes", "Idle time after which the application stops.", 5),
    ] = 5
    in_vpc: Annotated[
        bool,
        describe(
            description="Put workers into the private subnets, for plug-ins that call something "
            "there. false: AWS's own network, which reaches S3 and Glue."
        ),
    ] = False
    new_database: Annotated[
        bool,
        describe(
            description="Make the Glue database. false: it is there, as after clickstream infra "
            "destroy, which keeps it."
        ),
    ] = True


class InfraRedshift(dg.Model, dg.Resolvable):
    """Redshift Serverless, or roles and rights for a warehouse that is there."""

    existing: Annotated[
        bool,
        describe(
            description="true: the workgroup or cluster that the warehouse's block names is there."
        ),
    ] = False
    workgroup_arn: Annotated[
        str | None,
        describe(
            description="For an existing workgroup: its ARN.",
            examples=["arn:aws:redshift-serverless:eu-west-1:123456789012:workgroup/0a1b2c3d"],
        ),
    ] = None
    new_namespace: Annotated[
        bool,
        describe(
            description="Make the namespace. false: it is there, as after clickstream infra "
            "destroy, which keeps it."
        ),
    ] = True
    base_rpu: Annotated[
        int, number("redshift.base_rpu", "Base RPU: capacity that queries begin with.", 8)
    ] = 8
    max_rpu: Annotated[
        int,
        number("redshift.max_rpu", "Most RPU, which bounds what an hour can cost.", 32),
    ] = 32
    subnets: Annotated[
        list[str],
        describe(
            description="Private subnets of the workgroup, three or more in three or more "
            "availability zones. Default: network.private_subnets.",
            examples=[
                [
                    "subnet-0123456789abcdef0",
                    "subnet-0123456789abcdef1",
                    "subnet-0123456789abcdef4",
                ]
            ],
        ),
    ] = Field(default_factory=list)
    access_security_groups: Annotated[
        list[str],
        describe(
            description="Security groups that reach the workgroup, as that of a BI tool.",
            examples=[["sg-0123456789abcdef0"]],
        ),
    ] = Field(default_factory=list)


class InfraOrchestration(dg.Model, dg.Resolvable):
    """Dagster on ECS: web server, daemon, code location, and PostgreSQL; nothing of it public."""

    image: Annotated[
        str,
        describe(
            description="Image of Dagster with this project, made of "
            "infra/orchestration/Containerfile.",
            examples=["123456789012.dkr.ecr.eu-west-1.amazonaws.com/clickstream-dagster:1.0"],
        ),
    ]
    architecture: Annotated[
        Literal["x86_64", "arm64"],
        describe(description="Processors that the image is built for."),
    ] = "x86_64"
    cpu: Annotated[
        int,
        describe(
            description="CPU units of web server, daemon and code location each, 1024 for a "
            "virtual CPU.",
            examples=[512],
        ),
    ] = 512
    memory_mb: Annotated[
        int, describe(description="Memory of these in MiB each.", examples=[2048])
    ] = 2048
    run_cpu: Annotated[
        int,
        describe(
            description="CPU units of a run; the tag ecs/cpu of a job goes before it.",
            examples=[1024, 4096],
        ),
    ] = 1024
    run_memory_mb: Annotated[
        int,
        describe(
            description="Memory of a run in MiB; the tag ecs/memory of a job goes before it.",
            examples=[4096, 16384],
        ),
    ] = 4096
    run_disk_gb: Annotated[int, number("orchestration.run_disk_gb", "Disk of a run.", 30)] = 30
    database_class: Annotated[
        str, describe(description="Class of the PostgreSQL instance.", examples=["db.t4g.micro"])
    ] = "db.t4g.micro"
    database_gb: Annotated[
        int, number("orchestration.database_gb", "Disk of the database.", 20)
    ] = 20
    database_two_zones: Annotated[
        bool, describe(description="Keep a second instance in another zone.")
    ] = False
    database_backup_days: Annotated[
        int,
        number("orchestration.database_backup_days", "Days for which backups are kept.", 7),
    ] = 7
    database_deletion_protection: Annotated[
        bool,
        describe(
            description="Refuse to delete the database. A deleted one leaves a snapshot anyway."
        ),
    ] = False
    policy_arn: Annotated[
        str | None,
        describe(
            description="Policy of your own for runs, as for plug-ins.",
            examples=["arn:aws:iam::123456789012:policy/shop-plugins"],
        ),
    ] = None
    bastion: Annotated[
        bool,
        describe(
            description="Run a small task through which Systems Manager forwards a port to the UI."
        ),
    ] = False
    access_security_groups: Annotated[
        list[str],
        describe(
            description="Security groups that reach Dagster's UI, as that of a VPN or a bastion. "
            "Default: none does.",
            examples=[["sg-0123456789abcdef0"]],
        ),
    ] = Field(default_factory=list)


class InfraObservability(dg.Model, dg.Resolvable):
    """A dashboard, and alarms by e-mail."""

    emails: Annotated[
        list[str],
        describe(
            description="Who is told of alarms; each confirms it once by a link.",
            examples=[["team@example.com"]],
        ),
    ]
    cpu_percent: Annotated[
        int, number("observability.cpu_percent", "Use of the collectors' CPU that alarms.", 85)
    ] = 85
    pending_minutes: Annotated[
        int,
        number("observability.pending_minutes", "Minutes that a task may wait to start.", 10),
    ] = 10
    silence_hours: Annotated[
        int,
        number("observability.silence_hours", "Hours without processed events that alarm.", 24),
    ] = 24
    file_age_minutes: Annotated[
        int,
        number(
            "observability.file_age_minutes",
            "Minutes that an announced raw file may wait in the queue.",
            120,
        ),
    ] = 120
    segment_minutes: Annotated[
        int,
        number(
            "observability.segment_minutes",
            "Minutes that acknowledged events may wait in a collector for the sink.",
            15,
        ),
    ] = 15
    warehouse_daily_rpu_hours: Annotated[
        int | None,
        number(
            "observability.warehouse_daily_rpu_hours",
            "RPU hours of Redshift in a day that alarm. Default: none do.",
            50,
        ),
    ] = None
