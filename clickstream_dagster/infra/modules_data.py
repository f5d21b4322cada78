"""The modules that take data out: processing, warehouses, Dagster."""

from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.names import default_workgroup
from clickstream_dagster.infra.rules_data import EMR_SERVERLESS
from clickstream_dagster.infra.settings import Pipeline, Redshift, RedshiftBlock
from clickstream_dagster.infra.values import Given, Value, flag, listed, part_name, repository_arn

_OLD_LAKE = dict.fromkeys(
    ("LakeBucket", "LakePrefix"),
    "lake: its tables stay in the old place, which roles could no longer reach",
)
_OLD_RAW = dict.fromkeys(
    ("RawBucket", "RawPrefix"),
    "raw: files stay in the old place, which roles could no longer reach",
)


def processing(given: Given) -> Module | None:
    """The EMR Serverless application, its role, and the Glue database."""
    settings, pipeline = given.infra.processing, given.pipeline
    if settings is None:
        return None
    on_emr = pipeline.engine == EMR_SERVERLESS
    network = given.network if settings.in_vpc and on_emr else None
    return Module(
        name="processing",
        template="processing.yaml",
        parameters={
            **given.project,
            **given.key,
            **given.boundary,
            **given.at("Raw", pipeline.raw),
            **given.at("Lake", pipeline.lake),
            **given.at("Artifacts", pipeline.emr.artifacts if pipeline.emr and on_emr else None),
            "GlueDatabase": "new" if settings.new_database else "existing",
            "Application": "emr" if on_emr else "none",
            "ReleaseLabel": settings.release,
            "Architecture": settings.architecture.upper(),
            "MaximumCpu": str(settings.max_cpus),
            "MaximumMemoryGb": str(settings.max_memory_gb),
            "MaximumDiskGb": str(settings.max_disk_gb),
            "IdleTimeoutMinutes": str(settings.idle_minutes),
            "VpcId": network.vpc_id if network else "",
            "PrivateSubnetIds": listed(network.private_subnets if network else ()),
        },
        fixed={**_OLD_LAKE, **_OLD_RAW},
    )


def redshift(given: Given) -> Module | None:
    """A workgroup of Redshift Serverless, or the roles for a warehouse that is there."""
    settings, block = given.infra.redshift, given.pipeline.redshift
    if settings is None or block is None:
        return None
    groups = () if settings.existing else settings.access_security_groups
    return Module(
        name="redshift",
        template="redshift.yaml",
        parameters={
            **given.project,
            "DatabaseName": block.database,
            **given.key,
            **given.boundary,
            **given.logs,
            **given.at("Lake", given.pipeline.lake),
            **given.at("Manifests", block.manifests),
            **_warehouse(given, settings, block),
        },
        parts=tuple(
            Part("warehouse_access.yaml", part_name(group), {"security_group": group})
            for group in groups
        ),
        fixed={
            "Warehouse": "infra.redshift.existing: the events are in the warehouse that is left",
            "DatabaseName": "database of the warehouse: the events are in the old one",
            "WorkgroupName": "workgroup of the warehouse: another one is made, and clients lose it",
            "NamespaceName": "which follows from project_id: the events are in the old one",
            "VpcId": "infra.network.vpc_id: a workgroup can't move",
            **_OLD_LAKE,
        },
    )


def workgroup_of(pipeline: Pipeline) -> str:
    """Give the name of a new workgroup: that of the YAML, else one of the project's id."""
    named = pipeline.redshift.workgroup if pipeline.redshift else None
    return named or default_workgroup(pipeline.project_id)


def _warehouse(given: Given, settings: Redshift, block: RedshiftBlock) -> dict[str, Value]:
    new = not settings.existing
    network = given.network if new else None
    kind = "existing-cluster" if block.cluster else "existing-workgroup"
    subnets = settings.subnets or (network.private_subnets if network else ())
    return {
        "Warehouse": "serverless" if new else kind,
        "WorkgroupName": workgroup_of(given.pipeline) if new else block.workgroup or "",
        "NamespaceName": default_workgroup(given.pipeline.project_id) if new else "",
        "Namespace": "new" if settings.new_namespace else "existing",
        "BaseRpu": str(settings.base_rpu),
        "MaxRpu": str(settings.max_rpu),
        "VpcId": network.vpc_id if network else "",
        "PrivateSubnetIds": listed(subnets if new else ()),
        "ExistingWorkgroupArn": settings.workgroup_arn or "",
        "ClusterIdentifier": block.cluster or "",
        "DatabaseUser": block.db_user or "",
        "SecretArn": block.secret_arn or "",
    }


def athena(given: Given) -> Module | None:
    """The work group of the warehouse athena, and the policies of who uses it."""
    pipeline, block = given.pipeline, given.pipeline.athena
    if not given.infra.athena or block is None:
        return None
    return Module(
        name="athena",
        template="athena.yaml",
        parameters={
            **given.project,
            **given.key,
            "WorkGroupName": block.work_group,
            "ScanLimitBytes": str(block.scan_limit_bytes),
            **given.at("Results", block.results),
            **given.at("Lake", pipeline.lake),
            **given.at("Models", block.data),
        },
        fixed={
            "WorkGroupName": "work_group of the warehouse: saved queries and history would be lost",
            **_OLD_LAKE,
        },
    )


def orchestration(given: Given) -> Module | None:
    """Dagster on ECS with its database, and the rights of its runs."""
    infra, settings = given.infra, given.infra.orchestration
    if settings is None:
        return None
    on_emr = infra.processing is not None and given.pipeline.engine == EMR_SERVERLESS
    makes_warehouse = infra.redshift is not None and not infra.redshift.existing
    bucket, prefix = given.place(given.artifacts)
    return Module(
        name="orchestration",
        template="orchestration.yaml",
        parameters={
            **given.project,
            **given.key,
            **given.boundary,
            **given.logs,
            "VpcId": given.network.vpc_id,
            "PrivateSubnetIds": listed(given.network.private_subnets),
            "WarehouseClientSecurityGroupId": given.output(
                "redshift", "ClientSecurityGroupId", makes_warehouse
            ),
            "BastionCount": str(int(settings.bastion)),
            "Image": settings.image,
            "ImageRepositoryArn": repository_arn(settings.image),
            "Architecture": settings.architecture.upper(),
            "ServiceCpu": str(settings.cpu),
            "ServiceMemory": str(settings.memory_mb),
            "RunCpu": str(settings.run_cpu),
            "RunMemory": str(settings.run_memory_mb),
            "RunDiskGb": str(settings.run_disk_gb),
            "DatabaseClass": settings.database_class,
            "DatabaseStorageGb": str(settings.database_gb),
            "DatabaseMultiAz": flag(settings.database_two_zones),
            "DatabaseBackupDays": str(settings.database_backup_days),
            "DatabaseDeletionProtection": flag(settings.database_deletion_protection),
            "LogsBucket": bucket,
            "LogsPrefix": f"{prefix}dagster",
            "QueueArn": given.output("arrivals", "QueueArn", bool(infra.arrivals)),
            "LakePolicyArn": given.output("processing", "LakePolicyArn", bool(infra.processing)),
            "ProcessingPolicyArn": given.output("processing", "DagsterPolicyArn", on_emr),
            "RedshiftPolicyArn": given.output("redshift", "DagsterPolicyArn", bool(infra.redshift)),
            "AthenaPolicyArn": given.output("athena", "DagsterPolicyArn", infra.athena),
            "AdditionalPolicyArn": settings.policy_arn or "",
        },
        parts=tuple(
            Part("webserver_access.yaml", part_name(group), {"security_group": group})
            for group in settings.access_security_groups
        ),
        fixed={"VpcId": "infra.network.vpc_id: the database can't move"},
    )
