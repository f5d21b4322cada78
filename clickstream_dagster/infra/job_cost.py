"""What a month of job runs on EMR Serverless costs, from processor time that was measured."""

import math
from dataclasses import dataclass

from clickstream_dagster.infra.prices import price_list

REQUEST_JSON_BYTES = 10_000
"""Requests of 1 KB, compressed to a tenth: the assumption of seed 000, "Cost"."""

CPU_SECONDS_A_GB = 28.0
"""Measured for a GB of JSON, everything included: docs/cost.md."""

START_SECONDS = 90
"""Assumed: workers get ready, the archive is unpacked, the JSON reader is compiled."""

WORKER_CORES, WORKER_GB = 4, 16
WORK_SECONDS = 600
"""A run has as many executors as its work needs to end in this time."""

HOURS_A_MONTH = 730


@dataclass(frozen=True, slots=True)
class JobCost:
    """A month of job runs: executors and seconds of a run, and all runs' hours and USD."""

    executors: int
    run_seconds: float
    vcpu_hours: float
    gb_hours: float

    @property
    def usd(self) -> float:
        listed = price_list()["prices"]
        vcpu, gigabyte = listed["emr_vcpu_hour"]["usd"], listed["emr_gb_hour"]["usd"]
        return self.vcpu_hours * vcpu + self.gb_hours * gigabyte


def job_cost(
    requests_a_second: float, hours: float, cpu_seconds_a_gb: float = CPU_SECONDS_A_GB
) -> JobCost:
    """Estimate a month of runs every so many hours; GB are those of the requests' JSON."""
    gigabytes = requests_a_second * 3_600 * hours * REQUEST_JSON_BYTES / 1e9
    work = gigabytes * cpu_seconds_a_gb
    executors = max(1, math.ceil(work / (WORKER_CORES * WORK_SECONDS)))
    run_seconds = START_SECONDS + work / (WORKER_CORES * executors)
    # The driver is a worker, too.
    worker_hours = (executors + 1) * run_seconds / 3_600 * HOURS_A_MONTH / hours
    return JobCost(executors, run_seconds, WORKER_CORES * worker_hours, WORKER_GB * worker_hours)
