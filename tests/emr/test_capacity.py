"""The capacity of a job run: sizes that EMR has, and Spark settings that make them."""

import re

import pytest

from clickstream_dagster.emr.capacity import PRESETS, WORKER_MEMORY, Capacity
from clickstream_dagster.errors import SettingError


def settings_of(capacity: Capacity) -> dict[str, str]:
    return dict(re.findall(r"--conf (\S+?)=(\S+)", capacity.submit_parameters("s3://b/a.tar.gz")))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_size_that_emr_has(preset: str) -> None:
    chosen = Capacity.of(preset)
    settings = settings_of(chosen)
    for role in ("driver", "executor"):
        cores = int(settings[f"spark.{role}.cores"])
        parts = (settings[f"spark.{role}.memory"], settings[f"spark.{role}.memoryOverhead"])
        memory = sum(int(part.removesuffix("m")) for part in parts)
        least, most, step = WORKER_MEMORY[cores]
        assert memory % 1024 == 0
        assert memory // 1024 in range(least, most + 1, step)
    assert int(settings["spark.default.parallelism"]) == (
        PRESETS[preset].executors * PRESETS[preset].cores
    )


def test_larger_volumes_get_more() -> None:
    cores = [preset.executors * preset.cores for preset in PRESETS.values()]
    assert cores == sorted(cores)
    volumes = [preset.most_gb for preset in PRESETS.values()]
    assert volumes[:-1] == sorted(volumes[:-1])
    assert volumes[-1] is None


def test_what_is_set_takes_the_place_of_the_preset() -> None:
    settings = settings_of(
        Capacity.of(
            "small",
            executor_cores=2,
            executor_memory_gb=8,
            executor_disk_gb=100,
            max_executors=2,
            spark={"spark.task.maxFailures": "8"},
        )
    )
    assert settings["spark.executor.cores"] == "2"
    assert settings["spark.executor.memory"] == "2048m"
    assert settings["spark.executor.memoryOverhead"] == "6144m"
    assert settings["spark.emr-serverless.executor.disk"] == "100G"
    assert settings["spark.dynamicAllocation.initialExecutors"] == "2"
    assert settings["spark.task.maxFailures"] == "8"
    assert "spark.emr-serverless.driver.disk" not in settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"executor_cores": 3}, "executor_cores is 3: write one of 1, 2, 4, 8, 16"),
        (
            {"executor_memory_gb": 31},
            "executor_memory_gb is 31: a worker of 4 cores has 8 to 30 GB in steps of 1",
        ),
        (
            {"driver_cores": 8, "driver_memory_gb": 18},
            "driver_memory_gb is 18: a worker of 8 cores has 16 to 60 GB in steps of 4",
        ),
        ({"driver_disk_gb": 10}, "driver_disk_gb is 10: write 20 to 200"),
        ({"max_executors": 0}, "max_executors is 0"),
        ({"max_executors": 2, "initial_executors": 3}, "initial_executors is 3: write 1 to max"),
        ({"spark": {"spark.executor.memory": "4g"}}, "'spark.executor.memory' is set by the frame"),
        ({"spark": {"spark.archives": "s3://b/x"}}, "'spark.archives' is set by the framework"),
        (
            {"spark": {"spark.emr-serverless.driverEnv.PYSPARK_PYTHON": "python3"}},
            "is set by the framework: take it out",
        ),
        ({"spark": {"executor.memory": "4g"}}, "begin with spark."),
        ({"spark": {"spark.app.name": "a --conf spark.jars=x"}}, "without blanks, quotes"),
        ({"spark": {"spark.app.name": ""}}, "without blanks"),
    ],
)
def test_a_wrong_capacity_is_told_with_its_key(given: dict, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        Capacity.of("small", **given)
