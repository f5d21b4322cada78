"""`clickstream infra` as a user runs it: a process of its own, against AWS over HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import boto3
import pytest
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException

from clickstream_dagster.infra.destroy import Kept
from clickstream_dagster.infra.lock import ProjectLock
from clickstream_dagster.infra.show import show_kept
from clickstream_dagster.infra.stacks import Stacks
from clickstream_dagster.infra_commands import _console
from tests.infra.cloudformation_edge import CloudFormationEdge
from tests.infra.small import Small
from tests.infra.test_drift import DRIFTED
from tests.served import eventually

ROOT = Path(__file__).parents[2]


def command(small: Small, *arguments: str) -> list[str]:
    modules = ",".join(small.modules)
    driver = [sys.executable, "-m", "tests.infra.small", str(small.folder), small.project_id]
    name, *rest = arguments
    return [*driver, modules, "infra", name, small.project_id, *rest]


def run(
    small: Small, *arguments: str, says: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(small, *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        input=says,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_plan_apply_outputs_drift_and_destroy(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    planned = run(small, "plan")
    assert (planned.returncode, planned.stderr) == (2, "")
    assert "Plan: 3 to add" in planned.stdout
    assert "Estimated costs of a month, USD" in planned.stdout

    refused = run(small, "apply", says="n\n")
    assert refused.returncode == 1
    assert Stacks(small.infrastructure().access).of_project(small.project_id) == {}

    applied = run(small, "apply", says="y\n")
    assert applied.returncode == 0, applied.stderr
    assert "storage: created" in applied.stdout
    assert "CREATE_COMPLETE              AWS::S3::Bucket Bucket" in applied.stdout

    assert run(small, "plan").returncode == 0
    again = run(small, "apply")
    assert (again.returncode, again.stderr) == (0, "")
    assert "Nothing to change." in again.stdout

    outputs = json.loads(run(small, "outputs", "--json").stdout)
    assert outputs["storage"] == {"DataBucket": small.bucket}
    table = run(small, "outputs", "--module", "storage").stdout
    assert table.split() == ["storage", "DataBucket", small.bucket]

    assert run(small, "drift").returncode == 0
    cloudformation.drifts[small.infrastructure().stack_name("arrivals")] = [DRIFTED]
    drifted = run(small, "drift")
    assert drifted.returncode == 2
    assert "VisibilityTimeout" in drifted.stdout

    wrong = run(small, "destroy", says="another\n")
    assert wrong.returncode == 1
    assert "that is not the project's id: nothing is destroyed" in wrong.stderr
    gone = run(small, "destroy", says=f"{small.project_id}\n")
    assert gone.returncode == 0, gone.stderr
    assert "Destroyed: arrivals, storage." in gone.stdout
    assert small.bucket in gone.stdout
    assert "$0.023 a GB and month" in gone.stdout
    assert "Nothing to destroy." in run(small, "destroy", "--yes").stdout
    boto3.client("s3").head_bucket(Bucket=small.bucket)


def test_an_arn_of_a_secret_is_shown_whole_and_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    arn = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{'n' * 120}-a1b2c3"
    show_kept(_console(), [Kept("redshift", "AWS::SecretsManager::Secret", arn, "Retain")], {})
    shown = capsys.readouterr().out
    assert ":secret:" in shown
    assert "…" not in shown


def test_a_failure_shows_the_resource_and_its_reason_without_a_traceback(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    cloudformation.failing = {"Bucket": "it belongs to somebody else"}
    failed = run(small, "apply", "--yes")
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "Bucket (AWS::S3::Bucket): it belongs to somebody else" in line
    cloudformation.failing = {}
    assert run(small, "apply", "--yes").returncode == 0


def test_after_a_kill_half_way_apply_goes_on(
    small: Small, cloudformation: CloudFormationEdge
) -> None:
    cloudformation.gate.clear()
    process = subprocess.Popen(
        command(small, "apply", "--yes"), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    eventually(lambda: cloudformation.executed, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    locked = run(small, "apply", "--yes")
    assert locked.returncode == 1
    assert "is locked by" in locked.stderr
    threading.Timer(3, cloudformation.gate.set).start()
    done = run(small, "apply", "--yes", "--break-lock")
    assert done.returncode == 0, done.stderr
    assert "took the lock of" in done.stderr
    assert "arrivals: created" in done.stdout
    assert ProjectLock(small.project_id, small.infrastructure().access).holder() is None


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_gives_the_lock_back_and_says_that_aws_goes_on(
    small: Small, cloudformation: CloudFormationEdge, stop: signal.Signals
) -> None:
    cloudformation.gate.clear()
    process = subprocess.Popen(
        command(small, "apply", "--yes"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: cloudformation.executed, 60)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "CloudFormation goes on with the stack" in errors
    assert "Traceback" not in errors
    assert ProjectLock(small.project_id, small.infrastructure().access).holder() is None
    cloudformation.gate.set()
    assert run(small, "apply", "--yes").returncode == 0


def test_a_module_that_the_yaml_no_longer_names_goes_when_told(small: Small) -> None:
    assert run(small, "apply", "--yes").returncode == 0
    small.modules = ("storage",)
    left = run(small, "apply", "--yes")
    assert left.returncode == 0
    assert "not in the settings any more: arrivals" in left.stdout
    there = Stacks(small.infrastructure().access).of_project(small.project_id)
    assert set(there) == {"storage", "arrivals"}
    removed = run(small, "apply", "--yes", "--remove")
    assert removed.returncode == 0, removed.stderr
    assert "Destroyed: arrivals." in removed.stdout
    assert run(small, "plan").returncode == 0


def test_a_deployed_project_without_infrastructure_has_nothing_to_change(aws: str) -> None:
    def plan(project: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("clickstream"), "infra", "plan", project],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    demo = plan("demo")
    assert (demo.returncode, demo.stderr) == (0, "")
    assert demo.stdout.splitlines() == [
        "The YAML of demo names no module: see infra there.",
        "Nothing to change.",
    ]
    unknown = plan("nothing")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("Error: no project 'nothing' is deployed here")


@pytest.mark.parametrize("name", ["plan", "apply", "destroy", "drift", "outputs"])
def test_a_right_that_is_missing_is_named(small: Small, name: str) -> None:
    # moto writes an error as the service does whose module raises it.
    kind = type("Denied", (ServiceException,), {"__module__": "moto.cloudformation.exceptions"})

    def denied(self: object) -> None:
        raise kind("AccessDenied", "shop-ci is not authorized to look at stacks")

    with patch.object(CloudFormationResponse, "describe_stacks", denied):
        refused = run(small, name)
    assert refused.returncode == 1
    assert "AccessDenied" in refused.stderr
    assert "the credentials in use need cloudformation:DescribeStacks" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", ["plan", "apply", "destroy", "drift", "outputs"])
def test_what_is_wrong_with_the_access_is_a_sentence(small: Small, name: str) -> None:
    nobody = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_CONFIG_FILE": "/nowhere",
    }
    missing = run(small, name, **nobody)
    assert missing.returncode == 1
    assert "Unable to locate credentials" in missing.stderr
    assert "Traceback" not in missing.stderr
    unknown = run(small, name, "--profile", "nobody")
    assert unknown.returncode == 1
    assert "The config profile (nobody) could not be found" in unknown.stderr
    assert "Traceback" not in unknown.stderr
