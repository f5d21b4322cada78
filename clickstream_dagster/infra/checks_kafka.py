"""What an MSK cluster must be like for collectors and connector (seed 000, "Data sink - Kafka")."""

from collections.abc import Iterator

from clickstream_dagster.infra.facts import Facts, KafkaCluster
from clickstream_dagster.infra.settings import Infra, Pipeline


def kafka_faults(infra: Infra, pipeline: Pipeline, facts: Facts) -> Iterator[str]:
    """Yield what is wrong with the cluster that `infra.kafka.cluster_arn` names."""
    if infra.kafka is None or infra.kafka.cluster_arn is None:
        return
    key = "infra.kafka.cluster_arn"
    cluster = facts.kafka
    if cluster is None:
        yield f"{key}: the cluster is not there: write the ARN of one of this account and region"
        return
    if infra.network is not None and infra.network.vpc_id not in cluster.vpc_ids:
        yield (
            f"{key}: the cluster is in {', '.join(sorted(cluster.vpc_ids)) or 'another VPC'}: "
            "write "
            "one in infra.network.vpc_id"
        )
    if cluster.state != "ACTIVE":
        yield f"{key}: the cluster is {cluster.state}: wait until it is ACTIVE"
    yield from _entrance_faults(pipeline, cluster)
    yield from _topic_faults(key, pipeline, cluster)


def _entrance_faults(pipeline: Pipeline, cluster: KafkaCluster) -> Iterator[str]:
    security = pipeline.collector.sink_settings.kafka.security
    open_to = {
        "plaintext": (
            cluster.unauthenticated and cluster.plaintext,
            "unauthenticated access and plaintext",
        ),
        "tls": (cluster.unauthenticated and cluster.tls, "unauthenticated access and TLS"),
        "scram": (cluster.scram and cluster.tls, "SASL/SCRAM authentication"),
        "iam": (cluster.iam and cluster.tls, "IAM role-based authentication"),
    }
    allowed, setting = open_to[security]
    if not allowed:
        others = [name for name, (takes, _) in open_to.items() if takes]
        yield (
            f"collector.sink.security {security}: the cluster does not take it: enable {setting} "
            "in "
            f"its security settings, or write {' or '.join(others) or 'what it takes'}"
        )


def _topic_faults(key: str, pipeline: Pipeline, cluster: KafkaCluster) -> Iterator[str]:
    # MSK's own default is false.
    if cluster.properties.get("auto.create.topics.enable", "false").lower() != "true":
        topic = pipeline.kafka_topic or pipeline.project_id
        if not pipeline.kafka_topic:
            yield (
                f"{key}: the cluster makes no topics: set auto.create.topics.enable=true in its "
                f"configuration, or make the topic {topic} and write collector.sink.topic: {topic}"
            )
    replicas = cluster.properties.get("default.replication.factor", "")
    if replicas.isdigit() and cluster.brokers and int(replicas) > cluster.brokers:
        yield (
            f"{key}: default.replication.factor is {replicas}, the cluster has {cluster.brokers} "
            f"brokers: write {cluster.brokers} or less in its configuration"
        )
