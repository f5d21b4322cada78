"""Least and most of each number in `infra:`, with the unit: for rules, descriptions and docs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """What a number may be; `step` is what it must be a multiple of."""

    least: int
    most: int
    unit: str = ""
    step: int = 1

    def __str__(self) -> str:
        steps = f", in steps of {self.step}" if self.step > 1 else ""
        return f"{self.least:,} to {self.most:,}{self.unit and ' '}{self.unit}{steps}"

    def holds(self, value: int) -> bool:
        """Whether a value is one of these."""
        return self.least <= value <= self.most and value % self.step == 0


BOUNDS = {
    "storage.raw_expire_days": Bound(1, 36_500, "days"),
    "storage.raw_infrequent_days": Bound(30, 36_500, "days"),
    "storage.noncurrent_days": Bound(1, 3_650, "days"),
    "storage.results_expire_days": Bound(1, 3_650, "days"),
    "storage.logs_expire_days": Bound(1, 3_650, "days"),
    "ingestion.min_tasks": Bound(1, 1_000, "tasks"),
    "ingestion.max_tasks": Bound(1, 1_000, "tasks"),
    "ingestion.workers": Bound(1, 64, "processes"),
    "ingestion.reading_mb": Bound(16, 16_384, "MiB"),
    "ingestion.spool_mibps": Bound(0, 1_024, "MiB/s"),
    "ingestion.warm_pool": Bound(0, 1_000, "machines"),
    "ingestion.cpu_percent": Bound(10, 90, "percent"),
    "ingestion.scale_in_minutes": Bound(1, 120, "minutes"),
    "ingestion.listener_rules": Bound(1, 1_000, "rules"),
    "kinesis.shards": Bound(1, 10_000, "shards"),
    "kinesis.retention_hours": Bound(24, 8_760, "hours"),
    "kinesis.batch_records": Bound(1, 10_000, "records"),
    "kinesis.batch_seconds": Bound(0, 300, "seconds"),
    "kafka.min_workers": Bound(1, 10, "workers"),
    "kafka.max_workers": Bound(1, 10, "workers"),
    "kafka.tasks": Bound(1, 100, "tasks"),
    "kafka.batch_records": Bound(1, 50_000, "records"),
    "kafka.batch_seconds": Bound(0, 3_000, "seconds"),
    "serverless_ingestion.buffer_mb": Bound(64, 128, "MiB"),
    "serverless_ingestion.buffer_seconds": Bound(0, 900, "seconds"),
    "arrivals.retention_days": Bound(1, 14, "days"),
    "arrivals.attempts": Bound(1, 1_000, "receives"),
    "processing.max_cpus": Bound(1, 10_000, "vCPU"),
    "processing.max_memory_gb": Bound(2, 80_000, "GB"),
    "processing.max_disk_gb": Bound(20, 100_000, "GB"),
    "processing.idle_minutes": Bound(1, 10_080, "minutes"),
    "redshift.base_rpu": Bound(8, 512, "RPU", step=8),
    "redshift.max_rpu": Bound(8, 5_632, "RPU", step=8),
    "orchestration.run_disk_gb": Bound(21, 200, "GB"),
    "orchestration.database_gb": Bound(20, 6_144, "GB"),
    "orchestration.database_backup_days": Bound(1, 35, "days"),
    "observability.cpu_percent": Bound(1, 100, "percent"),
    "observability.pending_minutes": Bound(1, 60, "minutes"),
    "observability.silence_hours": Bound(1, 168, "hours"),
    "observability.file_age_minutes": Bound(6, 20_160, "minutes"),
    "observability.segment_minutes": Bound(1, 1_440, "minutes"),
    "observability.warehouse_daily_rpu_hours": Bound(1, 100_000, "RPU hours"),
}
"""By key below `infra`. From seed 000 ("Pipeline management") where it has one, else from AWS."""
