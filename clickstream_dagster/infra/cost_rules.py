"""What a resource costs a month, by its type: positions of the price list."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clickstream_dagster.infra.intrinsics import Values
from clickstream_dagster.infra.job_cost import HOURS_A_MONTH, job_cost
from clickstream_dagster.infra.prices import price
from clickstream_dagster.infra.template import Template

_About = Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """What an estimate assumes of the traffic and the work on it; GB are 1,000,000,000 bytes."""

    requests_per_second: float = 10.0
    request_kb: float = 1.0
    hours_between_runs: float = 1.0
    lake_share: float = 1.0
    redshift_minutes_a_run: float = 2.0
    athena_scans: float = 5.0
    log_gb: float = 2.0

    @property
    def requests(self) -> float:
        """Requests a month."""
        return self.requests_per_second * 3_600 * HOURS_A_MONTH

    @property
    def gigabytes(self) -> float:
        """GB of compressed requests a month."""
        return self.requests * self.request_kb / 1e6

    @property
    def runs(self) -> float:
        """Windows processed a month."""
        return HOURS_A_MONTH / self.hours_between_runs

    def told(self) -> dict[str, str]:
        """Give the assumptions as they are shown."""
        return {
            "requests a second": f"{self.requests_per_second:g}, all day and night",
            "a request": f"{self.request_kb:g} KB compressed, ten times that as JSON",
            "connections": "each request opens one",
            "a window is processed": f"every {_duration(self.hours_between_runs)}",
            "the lake": f"{self.lake_share:g} times the bytes of the raw files",
            "S3": "what one month adds; each month that is kept costs it again",
            "Redshift": f"at work {self.redshift_minutes_a_run:g} minutes for each window",
            "Athena": f"reads what a month adds {self.athena_scans:g} times",
            "logs": f"{self.log_gb:g} GB a month for each log group",
            "machines": "as many as run at least; what scaling adds comes on top",
            "not in it": "data transfer out, NAT gateways, VPC endpoints, requests to KMS, taxes",
        }


def _duration(hours: float) -> str:
    return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} minutes"


@dataclass(frozen=True)
class Line:
    """A position of an estimate: so many units at a price of the list, None if it has none."""

    module: str
    resource: str
    what: str
    quantity: float
    price: float | None

    @property
    def usd(self) -> float:
        return self.quantity * (self.price or 0.0)


def lines_of(
    module: str, template: Template, parameters: Mapping[str, Any], usage: Usage
) -> Iterator[Line]:
    """Price the resources that a module's template makes with its parameters."""
    return _Pricing(module, template, parameters, usage).lines()


class _Pricing:
    """Prices the resources of one module."""

    def __init__(
        self, module: str, template: Template, parameters: Mapping[str, Any], usage: Usage
    ) -> None:
        self._module = module
        self._values = Values(template, parameters)
        self._resources = self._values.resources()
        self._usage = usage

    def lines(self) -> Iterator[Line]:
        for name, resource in self._resources.items():
            positions = _PRICED.get(resource["Type"])
            if positions is None:
                continue
            properties = self._values.resolve(resource.get("Properties", {}))
            for what, quantity, key in positions(self, properties, resource.get("Properties", {})):
                if quantity:
                    yield Line(self._module, name, what, quantity, price(key))

    def parameter(self, name: str, otherwise: float) -> float:
        """Give a number that the module is given, by the name of its parameter."""
        return _number(self._values.resolve({"Ref": name}), otherwise)

    def flag(self, name: str, value: str) -> bool:
        """Whether the module is given a value."""
        return self._values.resolve({"Ref": name}) == value

    def referred(self, raw: Any) -> Mapping[str, Any]:
        """Give the resolved properties of a resource that another one refers to."""
        name = raw.get("Ref", "") if isinstance(raw, dict) else ""
        return self._values.resolve(self._resources.get(name, {}).get("Properties", {}))

    def count(self, kind: str) -> int:
        """Give how many resources of a type there are."""
        return sum(resource["Type"] == kind for resource in self._resources.values())

    @property
    def usage(self) -> Usage:
        return self._usage


_Position = tuple[str, float, str]
_Priced = Callable[[_Pricing, _About, _About], Iterable[_Position]]


def _number(value: Any, otherwise: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return otherwise


def _load_balancer(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    use = one.usage
    # A capacity unit has 25 new connections a second, or 1 GB an hour.
    units = max(use.requests_per_second / 25, use.gigabytes / HOURS_A_MONTH)
    yield "load balancer, hours", HOURS_A_MONTH, "alb_hour"
    yield "load balancer, capacity units", units * HOURS_A_MONTH, "alb_lcu_hour"
    subnets = about.get("Subnets")
    if about.get("Scheme") == "internet-facing" and isinstance(subnets, list):
        yield "public addresses", len(subnets) * HOURS_A_MONTH, "public_ipv4_hour"


def _accelerator(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    yield "accelerator, hours", HOURS_A_MONTH, "accelerator_hour"
    yield "accelerator, data", one.usage.gigabytes, "accelerator_gb"


def _service(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    task = one.referred(raw.get("TaskDefinition"))
    if not task or one.flag("LaunchType", "EC2"):
        return
    desired = _number(about.get("DesiredCount"), one.parameter("MinTasks", 1))
    arm = "_arm" if task.get("RuntimePlatform", {}).get("CpuArchitecture") == "ARM64" else ""
    hours = desired * HOURS_A_MONTH
    yield "tasks, vCPU", hours * _number(task.get("Cpu"), 256) / 1024, f"fargate{arm}_vcpu_hour"
    yield "tasks, memory", hours * _number(task.get("Memory"), 512) / 1024, f"fargate{arm}_gb_hour"


def _machines(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    template = raw.get("LaunchTemplate", {}).get("LaunchTemplateSpecification") or raw.get(
        "LaunchTemplate", {}
    )
    data = one.referred(template.get("LaunchTemplateId")).get("LaunchTemplateData", {})
    kind = data.get("InstanceType")
    kind = kind if isinstance(kind, str) else "?"
    number = max(_number(about.get("MinSize"), 0), one.parameter("MinTasks", 1))
    yield f"machines, {kind}", number * HOURS_A_MONTH, f"ec2/{kind}"


def _spool(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    # Each record is written once and read once; little of it lies there at a time.
    yield "file system, waiting data", max(one.usage.gigabytes / HOURS_A_MONTH, 1), "efs_gb_month"
    provisioned = _number(about.get("ProvisionedThroughputInMibps"), 0)
    if about.get("ThroughputMode") == "provisioned" and provisioned:
        yield "file system, throughput", provisioned, "efs_mibps_month"
        return
    yield "file system, written", one.usage.gigabytes, "efs_write_gb"
    yield "file system, read", one.usage.gigabytes, "efs_read_gb"


def _stream(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    use = one.usage
    if about.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
        yield "stream, hours", HOURS_A_MONTH, "kinesis_stream_hour"
        yield "stream, data in", use.gigabytes, "kinesis_in_gb"
        yield "stream, data out", use.gigabytes, "kinesis_out_gb"
        return
    shards = _number(about.get("ShardCount"), 1)
    yield "stream, shards", shards * HOURS_A_MONTH, "kinesis_shard_hour"
    yield "stream, records in", use.requests / 1e6, "kinesis_put_million"


def _function(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    if one.count("AWS::CloudFront::Distribution"):
        return  # a function of the edge: by request
    calls = max(one.usage.requests / one.parameter("BatchRecords", 1_000), one.usage.runs)
    memory = _number(about.get("MemorySize"), 128) / 1024
    arm = "_arm" if about.get("Architectures") == ["arm64"] else ""
    seconds = one.usage.requests / 1_000
    yield "function, calls", calls / 1e6, "lambda_million"
    yield "function, 1 ms a record", seconds * memory, f"lambda{arm}_gb_second"


def _distribution(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    million = one.usage.requests / 1e6
    yield "distribution, requests", million, "cloudfront_million"
    if one.count("AWS::CloudFront::Function"):
        yield "function at the edge", million, "edge_function_million"
    if one.count("AWS::Lambda::Function"):
        yield "function at the edge, calls", million, "lambda_edge_million"
        yield "function at the edge, 5 ms", million * 1e6 * 0.005 / 8, "lambda_edge_gb_second"


def _delivery(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    # Each record is counted in steps of 5 KB.
    billed = one.usage.requests * 5 / 1e6
    yield "delivery stream, data", billed, "firehose_gb"
    yield "delivery stream, to Parquet", billed, "firehose_convert_gb"


def _warehouse(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    hours = one.usage.runs * one.usage.redshift_minutes_a_run / 60
    base = _number(about.get("BaseCapacity"), 8)
    yield f"workgroup, {base:g} RPU at work", hours * base, "redshift_rpu_hour"


def _namespace(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    lake = one.usage.gigabytes * one.usage.lake_share
    yield "namespace, data of a month", lake, "redshift_gb_month"


def _queries(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    lake = one.usage.gigabytes * one.usage.lake_share
    yield "queries", one.usage.athena_scans * lake / 1_000, "athena_tb"


def _jobs(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    month = job_cost(one.usage.requests_per_second, one.usage.hours_between_runs)
    yield "job runs, vCPU", month.vcpu_hours, "emr_vcpu_hour"
    yield "job runs, memory", month.gb_hours, "emr_gb_hour"


def _database(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    kind = about.get("DBInstanceClass")
    kind = kind if isinstance(kind, str) else "?"
    copies = 2 if str(about.get("MultiAZ", False)).lower() == "true" else 1
    storage = _number(about.get("AllocatedStorage"), 20) * copies
    yield f"database, {kind}", copies * HOURS_A_MONTH, f"rds/{kind}"
    yield "database, storage", storage, "rds_gb_month"


def _brokers(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    number = _number(about.get("NumberOfBrokerNodes"), 2)
    nodes = about.get("BrokerNodeGroupInfo", {})
    kind = nodes.get("InstanceType")
    kind = kind if isinstance(kind, str) else "?"
    volume = _number(nodes.get("StorageInfo", {}).get("EBSStorageInfo", {}).get("VolumeSize"), 100)
    yield f"brokers, {kind}", number * HOURS_A_MONTH, f"msk/{kind}"
    yield "brokers, storage", number * volume, "msk_gb_month"


def _connector(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    capacity = about.get("Capacity", {})
    scaling = capacity.get("AutoScaling", {})
    fixed = capacity.get("ProvisionedCapacity", {})
    workers = _number(scaling.get("MinWorkerCount", fixed.get("WorkerCount")), 1)
    units = workers * _number(scaling.get("McuCount", fixed.get("McuCount")), 1)
    yield "connector", units * HOURS_A_MONTH, "msk_connect_mcu_hour"


def _bucket(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    # The month's data once, whichever of the buckets it lies in.
    share = 1 / max(one.count("AWS::S3::Bucket"), 1)
    data = one.usage.gigabytes * (1 + one.usage.lake_share)
    yield "its share of a month's data", data * share, "s3_gb_month"
    # A file of raw data every five minutes of each collector, and a lake file for each window.
    yield "its share of the PUTs", (2 * HOURS_A_MONTH * 12 / 1_000) * share, "s3_put_thousand"


def _each(what: str, key: str, quantity: float = 1) -> _Priced:
    return lambda one, about, raw: [(what, quantity, key)]


def _log(one: _Pricing, about: _About, raw: _About) -> Iterable[_Position]:
    yield "log, data in", one.usage.log_gb, "log_in_gb"
    days = _number(about.get("RetentionInDays"), 365)
    yield "log, kept", one.usage.log_gb * days / 30, "log_gb_month"


_PRICED: Mapping[str, _Priced] = {
    "AWS::Athena::WorkGroup": _queries,
    "AWS::AutoScaling::AutoScalingGroup": _machines,
    "AWS::CloudFront::Distribution": _distribution,
    "AWS::CloudWatch::Alarm": _each("alarm", "alarm_month"),
    "AWS::CloudWatch::CompositeAlarm": _each("alarm", "alarm_month", 5),
    "AWS::CloudWatch::Dashboard": _each("dashboard", "dashboard_month"),
    "AWS::ECS::Service": _service,
    "AWS::EFS::FileSystem": _spool,
    "AWS::EMRServerless::Application": _jobs,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _load_balancer,
    "AWS::GlobalAccelerator::Accelerator": _accelerator,
    "AWS::KMS::Key": _each("key", "kms_key_month"),
    "AWS::Kinesis::Stream": _stream,
    "AWS::KafkaConnect::Connector": _connector,
    "AWS::KinesisFirehose::DeliveryStream": _delivery,
    "AWS::Lambda::Function": _function,
    "AWS::Logs::LogGroup": _log,
    "AWS::MSK::Cluster": _brokers,
    "AWS::RDS::DBInstance": _database,
    "AWS::RedshiftServerless::Namespace": _namespace,
    "AWS::RedshiftServerless::Workgroup": _warehouse,
    "AWS::S3::Bucket": _bucket,
    "AWS::SecretsManager::Secret": _each("secret", "secret_month"),
}
