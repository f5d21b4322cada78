"""Capacity of a job run: presets by volume, sizes of workers, and the Spark settings they make."""

from collections.abc import Mapping
from dataclasses import dataclass

from clickstream_dagster.errors import SettingError

WORKER_MEMORY = {1: (2, 8, 1), 2: (4, 16, 1), 4: (8, 30, 1), 8: (16, 60, 4), 16: (32, 120, 8)}
"""Least and most memory of a worker and its step, in GB, by its cores (EMR Serverless User Guide,
"Supported worker configurations")."""

DISK_GB = (20, 200)
"""Least and most disk of a worker, in GB (the same place)."""

ARCHIVE_FOLDER = "environment"
"""Where the archive is unpacked, below the working directory of driver and executors."""

_PYTHON = f"./{ARCHIVE_FOLDER}/bin/python"

_OWN_SETTINGS = (
    "spark.archives",
    "spark.default.parallelism",
    "spark.driver.cores",
    "spark.driver.memory",
    "spark.dynamicAllocation.enabled",
    "spark.dynamicAllocation.initialExecutors",
    "spark.dynamicAllocation.maxExecutors",
    "spark.emr-serverless.driver.disk",
    "spark.emr-serverless.executor.disk",
    "spark.emr-serverless.driverEnv.DAGSTER_PIPES_",
    "spark.emr-serverless.driverEnv.PYSPARK_",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.executorEnv.PYSPARK_",
    "spark.pyspark.",
    "spark.remote",
)


@dataclass(frozen=True, slots=True)
class Worker:
    """Size of a worker: cores, memory and disk in GB. Raises SettingError for a size there isn't.

    `role` is driver or executor: keys in messages begin with it.
    """

    role: str
    cores: int
    memory_gb: int
    disk_gb: int | None = None

    def __post_init__(self) -> None:
        if self.cores not in WORKER_MEMORY:
            raise SettingError(
                f"{self.role}_cores is {self.cores}: write one of "
                f"{', '.join(str(cores) for cores in WORKER_MEMORY)}"
            )
        least, most, step = WORKER_MEMORY[self.cores]
        if not least <= self.memory_gb <= most or (self.memory_gb - least) % step:
            raise SettingError(
                f"{self.role}_memory_gb is {self.memory_gb}: a worker of {self.cores} cores has "
                f"{least} to {most} GB in steps of {step}"
            )
        if self.disk_gb is not None and not DISK_GB[0] <= self.disk_gb <= DISK_GB[1]:
            raise SettingError(
                f"{self.role}_disk_gb is {self.disk_gb}: write {DISK_GB[0]} to {DISK_GB[1]}"
            )

    def settings(self) -> dict[str, str]:
        """Give the Spark settings of the worker.

        The rows of a batch live in Python processes beside the JVM, so that a quarter of the
        memory is the JVM's heap and the rest is theirs.
        """
        whole = self.memory_gb * 1024
        heap = whole // 4
        found = {
            f"spark.{self.role}.cores": str(self.cores),
            f"spark.{self.role}.memory": f"{heap}m",
            f"spark.{self.role}.memoryOverhead": f"{whole - heap}m",
        }
        if self.disk_gb is not None:
            found[f"spark.emr-serverless.{self.role}.disk"] = f"{self.disk_gb}G"
        return found


@dataclass(frozen=True, slots=True)
class Preset:
    """Executors for a volume: so many GB of events a batch at most, decompressed; None: no bound.

    Raw objects are compressed to about a twentieth.
    """

    most_gb: int | None
    executors: int
    cores: int
    memory_gb: int


PRESETS: Mapping[str, Preset] = {
    "xsmall": Preset(1, 2, 4, 16),
    "small": Preset(5, 3, 4, 16),
    "medium": Preset(10, 3, 8, 56),
    "large": Preset(50, 6, 16, 112),
    "xlarge": Preset(100, 10, 16, 112),
    "2xlarge": Preset(200, 20, 16, 112),
    "3xlarge": Preset(500, 30, 16, 112),
    "4xlarge": Preset(1_000, 40, 16, 112),
    "5xlarge": Preset(None, 50, 16, 112),
}
"""The seed solution's advice by volume; its heaps with their overhead, as sizes of workers."""

DEFAULT_PRESET = "small"
_FIRST_EXECUTORS = 3
_DRIVER_CORES, _DRIVER_MEMORY_GB = 4, 16


@dataclass(frozen=True, slots=True)
class Capacity:
    """Workers of a job run and its other Spark settings. Raises SettingError for wrong ones."""

    driver: Worker
    executor: Worker
    initial_executors: int
    max_executors: int
    spark: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.max_executors < 1:
            raise SettingError(f"max_executors is {self.max_executors}: write 1 or more")
        if not 1 <= self.initial_executors <= self.max_executors:
            raise SettingError(
                f"initial_executors is {self.initial_executors}: write 1 to max_executors, which "
                f"is {self.max_executors}"
            )
        for key, value in self.spark.items():
            check_setting(key, value)

    @classmethod
    def of(
        cls,
        preset: str,
        *,
        driver_cores: int | None = None,
        driver_memory_gb: int | None = None,
        driver_disk_gb: int | None = None,
        executor_cores: int | None = None,
        executor_memory_gb: int | None = None,
        executor_disk_gb: int | None = None,
        initial_executors: int | None = None,
        max_executors: int | None = None,
        spark: Mapping[str, str] | None = None,
    ) -> "Capacity":
        """Give the capacity of a preset with what is set otherwise."""
        chosen = PRESETS[preset]
        most = chosen.executors if max_executors is None else max_executors
        first = min(_FIRST_EXECUTORS, most) if initial_executors is None else initial_executors
        return cls(
            driver=Worker(
                "driver",
                driver_cores or _DRIVER_CORES,
                driver_memory_gb or _DRIVER_MEMORY_GB,
                driver_disk_gb,
            ),
            executor=Worker(
                "executor",
                executor_cores or chosen.cores,
                executor_memory_gb or chosen.memory_gb,
                executor_disk_gb,
            ),
            initial_executors=first,
            max_executors=most,
            spark=spark or {},
        )

    def submit_parameters(self, archive: str) -> str:
        """Give the parameters of spark-submit for a job that runs from the archive at a URI."""
        settings = {
            **self.spark,
            "spark.archives": f"{archive}#{ARCHIVE_FOLDER}",
            "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": _PYTHON,
            "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": _PYTHON,
            "spark.executorEnv.PYSPARK_PYTHON": _PYTHON,
            **self.driver.settings(),
            **self.executor.settings(),
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.initialExecutors": str(self.initial_executors),
            "spark.dynamicAllocation.maxExecutors": str(self.max_executors),
            # How many tasks a batch is cut into; executors are added while tasks wait.
            "spark.default.parallelism": str(self.max_executors * self.executor.cores),
        }
        return " ".join(f"--conf {key}={value}" for key, value in settings.items())


def check_setting(key: str, value: str) -> None:
    """Raise SettingError unless a project may set this Spark setting to this value."""
    if not key.startswith("spark."):
        raise SettingError(f"spark setting {key!r}: names of Spark settings begin with spark.")
    if key.startswith(_OWN_SETTINGS):
        raise SettingError(
            f"spark setting {key!r} is set by the framework: take it out; sizes and numbers of "
            "workers have keys of their own in emr_serverless"
        )
    if any(sign.isspace() or sign in "\"'\\" for sign in key + value) or not value:
        raise SettingError(
            f"spark setting {key!r} is {value!r}: write a value without blanks, quotes and "
            "backslashes"
        )
