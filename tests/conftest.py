"""An AWS endpoint over HTTP, as boto3 finds it in production; how tests share processes."""

import json
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.athena.athena_edge import AthenaEdge, served_athena
from tests.athena.trino_server import served_trino

_ON_TRINO = ("tests/athena/", "tests/dbt/test_dialect_macros.py")


class OneTrino(LoadFileScheduling):
    """Gives a file's tests to one process, and all that need Trino to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        return "trino" if nodeid.startswith(_ON_TRINO) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneTrino:
    """Say how `--dist` shares the tests."""
    return OneTrino(config, log)


@dataclass
class Bucket:
    """A bucket on the endpoint; every test gets a new one."""

    name: str
    client: Any

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def address(self, prefix: str) -> str:
        return f"s3://{self.name}/{prefix}"


@dataclass
class ArrivalQueue:
    """A queue that a bucket tells of the objects below `raw/`."""

    url: str
    client: Any

    def send(self, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.client.send_message(QueueUrl=self.url, MessageBody=text)

    def bodies(self) -> list[str]:
        """Give the bodies of all messages, and leave them where they are."""
        found: list[str] = []
        receipts: list[str] = []
        while messages := self._receive():
            found += [message["Body"] for message in messages]
            receipts += [message["ReceiptHandle"] for message in messages]
        for receipt in receipts:
            self.client.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=0
            )
        return found

    def _receive(self) -> list[dict[str, Any]]:
        answer = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return answer.get("Messages", [])


@pytest.fixture(scope="session")
def s3_endpoint():
    from moto.server import ThreadedMotoServer

    from tests.emr_edge import add_dashboard

    add_dashboard()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def aws(s3_endpoint):
    """The environment of a deployment on AWS, for the whole session of those who ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield s3_endpoint


@pytest.fixture(scope="session")
def make_bucket(aws):
    import boto3

    client = boto3.client("s3")

    def make() -> Bucket:
        name = f"bucket-{uuid.uuid4().hex}"
        client.create_bucket(Bucket=name)
        return Bucket(name, client)

    return make


@pytest.fixture(scope="session")
def make_queue(aws):
    import boto3

    client = boto3.client("sqs")

    def make(bucket: Bucket) -> ArrivalQueue:
        url = client.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
        arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        configuration = {
            "QueueArn": arn["Attributes"]["QueueArn"],
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "raw/"}]}},
        }
        bucket.client.put_bucket_notification_configuration(
            Bucket=bucket.name,
            NotificationConfiguration={"QueueConfigurations": [configuration]},
        )
        return ArrivalQueue(url, client)

    return make


@pytest.fixture
def bucket(make_bucket):
    return make_bucket()


@pytest.fixture
def queue(bucket, make_queue):
    return make_queue(bucket)


@pytest.fixture(scope="session")
def edge(aws: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AthenaEdge]:
    """Athena: a double of its API in front of a real Trino, which boto3 finds by environment."""
    with (
        served_trino(aws, tmp_path_factory.mktemp("trino")) as port,
        served_athena(port, aws) as edge,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL_ATHENA", edge.url)
        yield edge
