"""Which VPC endpoints a module needs in isolated subnets (seed 000, "Prerequisites")."""

from collections.abc import Iterator

from clickstream_dagster.infra.settings import Infra, Pipeline

ALWAYS = frozenset({"s3", "logs", "ecr.api", "ecr.dkr"})
"""What a task of ECS needs: its image, which lies on S3, and its log."""

ON_EC2 = frozenset({"ecs", "ecs-agent", "ecs-telemetry"})
"""What machines of ECS need besides; Fargate has it of its own."""


def endpoints_needed(
    infra: Infra, pipeline: Pipeline
) -> Iterator[tuple[str, tuple[str, ...], frozenset[str]]]:
    """Yield key, subnets and services for each module in the VPC.

    Services are as endpoints name them: `ecr.api` of `com.amazonaws.<region>.ecr.api`.
    """
    network = infra.network
    if network is None:
        return
    private = "infra.network.private_subnets"
    if infra.ingestion is not None:
        yield private, network.private_subnets, ALWAYS | _of_collectors(infra, pipeline)
    if infra.kafka is not None and infra.kafka.plugin is not None:
        yield private, network.private_subnets, frozenset({"s3", "logs"})
    if infra.processing is not None and infra.processing.in_vpc:
        yield private, network.private_subnets, frozenset({"s3", "glue", "logs"})
    if infra.orchestration is not None:
        yield private, network.private_subnets, ALWAYS | _of_dagster(infra, pipeline)
    if infra.redshift is not None and not infra.redshift.existing:
        subnets = infra.redshift.subnets or network.private_subnets
        key = "infra.redshift.subnets" if infra.redshift.subnets else private
        yield key, subnets, frozenset({"s3", "logs"})


def _of_collectors(infra: Infra, pipeline: Pipeline) -> frozenset[str]:
    needed = set()
    if pipeline.sink == "kinesis":
        needed.add("kinesis-streams")
    ingestion = infra.ingestion
    if ingestion is not None:
        needed |= ON_EC2 if ingestion.server == "ec2" else set()
        if ingestion.write_keys_secret_arn or ingestion.kafka_secret_arn:
            needed.add("secretsmanager")
    return frozenset(needed)


def _of_dagster(infra: Infra, pipeline: Pipeline) -> frozenset[str]:
    """Give what Dagster's tasks call: ECS for runs, stacks for ids, a secret for the database.

    The daemon asks EC2 for its own network, which runs get, too.
    """
    needed = {"cloudformation", "ec2", "ecs", "secretsmanager", "sts"}
    if infra.orchestration is not None and infra.orchestration.bastion:
        needed.add("ssmmessages")
    if infra.processing is not None:
        needed.add("glue")
        if pipeline.engine == "emr_serverless":
            needed.add("emr-serverless")
    if infra.arrivals is not None:
        needed.add("sqs")
    if infra.redshift is not None:
        needed.add("redshift-data")
        block, own = pipeline.redshift, not infra.redshift.existing and infra.redshift.new_namespace
        # With a secret of its own dbt signs in without asking for credentials.
        if block is not None and block.secret_arn is None and not own:
            needed.add("redshift" if block.cluster is not None else "redshift-serverless")
    if infra.athena:
        needed |= {"athena", "glue"}
    return frozenset(needed)
