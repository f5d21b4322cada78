"""Rules of what takes data out: buckets, processing, warehouses, Dagster, alarms.

Follows seed 000, "Data processing", "Data modeling" and "Monitoring and alarms".
"""

from collections.abc import Iterator

from clickstream_dagster.batches.objects import split_s3
from clickstream_dagster.infra import forms
from clickstream_dagster.infra.rules_ingestion import same_region, task_faults
from clickstream_dagster.infra.settings import Infra, Pipeline, Redshift, RedshiftBlock
from clickstream_dagster.infra.wanted import places, security_groups

EMR_SERVERLESS = "emr_serverless"
LEAST_MINUTES = 6
_EXPIRING = ("raw", "athena.results")
_REDSHIFT_ZONES = 3


def data_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    """Yield what is wrong with the blocks from `storage` to `observability`, but `arrivals`."""
    yield from _storage_faults(infra, pipeline)
    yield from _processing_faults(infra, pipeline)
    yield from _redshift_faults(infra, pipeline)
    if infra.athena and pipeline.athena is None:
        yield (
            "infra.athena: the models need the block, too: write warehouses: "
            "[{engine: athena, ...}]"
        )
    if infra.athena and pipeline.athena is not None and pipeline.athena.kms_key_id is not None:
        yield (
            "infra.athena and kms_key_id of the warehouse: results are encrypted with the key of "
            "infra.storage or of s3.kms_key_id: leave it out"
        )
    yield from _orchestration_faults(infra, pipeline)
    if infra.observability is not None:
        emails = infra.observability.emails
        yield from forms.EMAIL.faults("infra.observability.emails", *emails)
        if not emails:
            yield "infra.observability.emails: alarms that nobody gets: write one address or more"
        if len(set(emails)) < len(emails):
            yield "infra.observability.emails has an address twice: write each once"
    for key, group in security_groups(infra):
        if not key.startswith("kafka"):
            yield from forms.GROUP.faults(f"infra.{key}", group)


def _storage_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    for key, place in places(infra, pipeline):
        yield from forms.BUCKET.faults(f"infra and {key}: the bucket", split_s3(place)[0])
    yield from forms.PLACE.faults("infra.artifacts", infra.artifacts)
    on_s3 = {key for key, _ in places(infra, pipeline)}
    needing = [
        name
        for name in ("storage", "processing", "redshift", "athena", "orchestration")
        if getattr(infra, name)
    ]
    missing = [key for key in ("raw", "lake") if key not in on_s3]
    if needing and missing:
        yield (
            f"infra: {', '.join(needing)} reach data on S3: write "
            + " and ".join(f"{key}: s3://bucket/prefix" for key in missing)
        )
    yield from _expiry_faults(infra, pipeline)
    key = "infra and s3.kms_key_id"
    yield from forms.KEY.faults(key, pipeline.s3.kms_key_id)
    yield from same_region(pipeline.s3.kms_key_id, key, pipeline)
    storage = infra.storage
    if storage is not None and storage.kms_key and pipeline.s3.kms_key_id is not None:
        yield (
            "infra.storage.kms_key makes a key, and s3.kms_key_id names one: leave one of them out"
        )
    if storage is None:
        return
    infrequent, expire = storage.raw_infrequent_days, storage.raw_expire_days
    if infrequent and expire and infrequent >= expire:
        yield (
            f"infra.storage.raw_infrequent_days {infrequent}: write fewer than raw_expire_days, "
            f"{expire}"
        )


def _expiry_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    """Yield places that lie in what a lifecycle rule of the storage would delete."""
    named = dict(places(infra, pipeline))
    expiring = {key: "/".join(split_s3(named[key])) for key in _EXPIRING if key in named}
    for outer, folder in expiring.items():
        for key, place in named.items():
            if key != outer and "/".join(split_s3(place)).startswith(folder):
                yield (
                    f"{key} {place!r} lies in {outer}, whose files expire: write a prefix beside it"
                )


def _processing_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    if infra.processing is None:
        return
    if pipeline.shortest_minutes < LEAST_MINUTES:
        yield (
            f"interval has windows of {pipeline.shortest_minutes:g} minutes: write "
            f"{LEAST_MINUTES} minutes or more"
        )
    if pipeline.engine != EMR_SERVERLESS or pipeline.emr is None:
        return
    settings, emr = infra.processing, pipeline.emr
    yield from forms.RELEASE.faults("infra.processing.release", settings.release)
    for key in ("application_id", "execution_role_arn"):
        if getattr(emr, key) is not None:
            yield (f"infra.processing makes what emr_serverless.{key} names: leave one of them out")
    if emr.region not in (None, pipeline.s3.region):
        yield (
            f"infra.processing is in s3.region, emr_serverless.region is {emr.region}: leave that "
            "out"
        )
    sizes = {
        "max_cpus": (settings.max_cpus, emr.cpus, "vCPU"),
        "max_memory_gb": (settings.max_memory_gb, emr.memory_gb, "GB of memory"),
        "max_disk_gb": (settings.max_disk_gb, emr.disk_gb, "GB of disk"),
    }
    for key, (most, needed, unit) in sizes.items():
        if most < needed:
            yield (
                f"infra.processing.{key} {most}: a job run of emr_serverless has up to {needed} "
                f"{unit}: "
                f"write {needed} or more, or a smaller preset"
            )


def _redshift_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    settings, block = infra.redshift, pipeline.redshift
    if settings is None:
        return
    if block is None:
        yield (
            "infra.redshift: the models need the block, too: write warehouses: "
            "[{engine: redshift, ...}]"
        )
        return
    key = "infra.redshift and database of the warehouse"
    yield from forms.DATABASE.faults(key, block.database)
    if settings.existing:
        yield from _existing_faults(settings, block, pipeline)
        return
    yield from forms.WORKGROUP.faults("infra.redshift and workgroup", block.workgroup)
    if block.cluster is not None:
        yield (
            "infra.redshift makes a workgroup, and the warehouse names a cluster: write existing: "
            "true, or leave cluster out"
        )
    secret = ("secret_arn",) if settings.new_namespace else ()
    for key in ("host", "copy_role_arn", *secret):
        if getattr(block, key) is not None:
            yield (
                f"infra.redshift makes what {key} of the warehouse names: write existing: true, or "
                f"leave {key} out"
            )
    if settings.workgroup_arn is not None:
        yield "infra.redshift.workgroup_arn is of one that is there: write existing: true"
    if settings.max_rpu < settings.base_rpu:
        yield (
            f"infra.redshift.max_rpu {settings.max_rpu} is less than base_rpu {settings.base_rpu}: "
            "write "
            f"{settings.base_rpu} or more"
        )
    subnets = settings.subnets or (infra.network.private_subnets if infra.network else ())
    yield from forms.SUBNET.faults("infra.redshift.subnets", *settings.subnets)
    if infra.network is not None and len(set(subnets)) < _REDSHIFT_ZONES:
        yield (
            f"infra.redshift.subnets: {len(set(subnets))} of them: Redshift Serverless needs "
            f"{_REDSHIFT_ZONES}, in {_REDSHIFT_ZONES} availability zones: write them, or as many "
            "infra.network.private_subnets"
        )


def _existing_faults(settings: Redshift, block: RedshiftBlock, pipeline: Pipeline) -> Iterator[str]:
    """Yield what is wrong where the warehouse is there already."""
    key = "infra.redshift.workgroup_arn"
    yield from forms.WORKGROUP_ARN.faults(key, settings.workgroup_arn)
    yield from same_region(settings.workgroup_arn, key, pipeline)
    if block.workgroup is None and block.cluster is None:
        yield (
            "infra.redshift.existing: the warehouse that is there has a name: write workgroup or "
            "cluster in its block below warehouses"
        )
    if (block.workgroup is None) != (settings.workgroup_arn is None):
        yield (
            "infra.redshift.workgroup_arn goes with an existing workgroup: write both, or neither "
            "for a cluster"
        )
    if block.host is None:
        yield (
            "infra.redshift.existing: dbt connects to host: write it in the block of the warehouse"
        )


def _orchestration_faults(infra: Infra, pipeline: Pipeline) -> Iterator[str]:
    settings = infra.orchestration
    if settings is None:
        return
    if pipeline.duckdb:
        yield (
            "infra.orchestration and warehouses: a DuckDB file goes with its task: write redshift, "
            "athena, or warehouses: []"
        )
    if pipeline.s3.profile is not None:
        yield (
            "infra.orchestration and s3.profile: Dagster's tasks have a role and no profiles: "
            "leave "
            "it out, and set AWS_PROFILE, or give --profile, where you apply"
        )
    yield from forms.IMAGE.faults("infra.orchestration.image", settings.image)
    database = settings.database_class
    yield from forms.DATABASE_CLASS.faults("infra.orchestration.database_class", database)
    yield from forms.POLICY.faults("infra.orchestration.policy_arn", settings.policy_arn)
    yield from task_faults("infra.orchestration", "", settings.cpu, settings.memory_mb)
    yield from task_faults("infra.orchestration", "run_", settings.run_cpu, settings.run_memory_mb)
