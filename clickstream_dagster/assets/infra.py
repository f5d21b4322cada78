"""A project's stacks on AWS as assets: materialising one applies it, a check tells its drift."""

import warnings
from collections.abc import Iterable, Mapping

import dagster as dg

from clickstream_dagster.assets.failures import clear_failures
from clickstream_dagster.assets.models import UPKEEP
from clickstream_dagster.assets.project import Project
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.module import Module
from clickstream_dagster.infra.stacks import StackError
from clickstream_dagster.resources.infrastructure import (
    InfrastructureResource,
    infrastructure_resource,
)

FOLDER = "infra"

_DESCRIPTIONS = {
    "storage": "Buckets of the raw files, the lake and the artifacts, and the key that encrypts.",
    "ingestion": "Load balancer with a rule for each app, and the collector behind it on ECS.",
    "sink-kinesis": "Kinesis stream of the collector, and the function that stores it in S3.",
    "sink-kafka": "Kafka topic of the collector, and the connector that stores it in S3.",
    "serverless-ingestion": "CloudFront with a function at the edge, and a stream to S3.",
    "arrivals": "Queue that tells of raw files in S3.",
    "processing": "EMR Serverless application, Glue database and the role of job runs.",
    "redshift": "Redshift Serverless, or the rights on the warehouse that is there.",
    "athena": "Athena work group with its limit, and saved queries.",
    "orchestration": "Dagster on ECS with its database.",
    "observability": "Dashboard, alarms and who is told.",
}

_RAW = ("storage", "sink-kinesis", "sink-kafka", "ingestion", "arrivals")


def module_key(project: Project, module: str) -> dg.AssetKey:
    """Give the key of a module's asset."""
    return project.key(FOLDER, module)


def with_infrastructure(
    defs: dg.Definitions, project: Project, infrastructure: Infrastructure
) -> dg.Definitions:
    """Add the assets of a project's modules, upstream of what needs them; no call to AWS.

    Nothing but the edges of the other assets changes.
    """
    upstream = _upstream(project, infrastructure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        mapped = defs.map_asset_specs(
            func=lambda spec: (
                spec.merge_attributes(deps=upstream[spec.key]) if spec.key in upstream else spec
            )
        )
    return dg.Definitions.merge(
        mapped,
        dg.Definitions(
            assets=[module_asset(project, infrastructure, one) for one in infrastructure.modules],
            asset_checks=[drift_check(project, one) for one in infrastructure.modules],
            resources={resource_name(project): infrastructure_resource(infrastructure)},
        ),
    )


def resource_name(project: Project) -> str:
    """Give the name of a project's infrastructure among the resources."""
    return project.name("infrastructure")


def _upstream(
    project: Project, infrastructure: Infrastructure
) -> Mapping[dg.AssetKey, list[dg.AssetKey]]:
    """Give the modules that each asset needs to be there."""
    named = {module.name for module in infrastructure.modules}
    wanted: dict[dg.AssetKey, Iterable[str]] = {
        project.key("raw_batch"): _RAW,
        project.key("ods_event"): ["processing"],
        project.key("bad_event"): ["processing"],
        project.key("redshift", "ods_event"): ["redshift"],
        project.key("athena", "clickstream_ods_event_view"): ["athena"],
    }
    found = {
        key: [module_key(project, name) for name in names if name in named]
        for key, names in wanted.items()
    }
    return {key: modules for key, modules in found.items() if modules}


def module_asset(
    project: Project, infrastructure: Infrastructure, module: Module
) -> dg.AssetsDefinition:
    """Build the asset of a module: its stack, with the outputs as metadata."""
    needs = {*module.needs, *(["storage"] if module.code else [])}
    there = {one.name for one in infrastructure.modules}

    @dg.asset(
        key=module_key(project, module.name),
        description=_DESCRIPTIONS.get(module.name, f"The stack of the module {module.name}."),
        deps=[module_key(project, name) for name in sorted(needs & there)],
        group_name=project.name(FOLDER),
        kinds={"aws", "cloudformation"},
        owners=list(project.owners),
        tags={**project.tags, "clickstream/layer": UPKEEP},
        required_resource_keys={resource_name(project)},
        pool=project.name(FOLDER),
    )
    def apply_module(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        resource = _resource(context.resources, project)
        with clear_failures():
            (applied,) = resource.apply(module.name, log=context.log.info)
        return dg.MaterializeResult(
            metadata={
                "stack": applied.stack.name,
                "status": applied.stack.status,
                "outcome": applied.outcome,
                **{f"output/{key}": value for key, value in applied.stack.outputs.items()},
            }
        )

    return apply_module


def drift_check(project: Project, module: Module) -> dg.AssetChecksDefinition:
    """Build the check that nobody has changed a module's stack past CloudFormation."""

    @dg.asset_check(
        asset=module_key(project, module.name),
        name="drift",
        description="Nobody has changed the stack's resources past CloudFormation.",
        required_resource_keys={resource_name(project)},
    )
    def drift(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        resource = _resource(context.resources, project)
        try:
            (found,) = resource.drift(module.name)
        except StackError as error:
            raise dg.Failure(description=str(error)) from error
        rows = [
            f"| {one.logical_id} | {one.status} | {told} |"
            for one in found.resources
            for told in (  # a resource that was deleted has no differences
                [f"{each.property} | {each.expected} | {each.actual}" for each in one.differences]
                or [" | | "]
            )
        ]
        head = ["| resource | is | property | applied | now |", "| --- | --- | --- | --- | --- |"]
        return dg.AssetCheckResult(
            passed=found.in_sync,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"the stack is {found.status}",
            metadata={
                "status": found.status,
                **({"drift": dg.MetadataValue.md("\n".join([*head, *rows]))} if rows else {}),
            },
        )

    return drift


def _resource(resources: object, project: Project) -> InfrastructureResource:
    return getattr(resources, resource_name(project))
