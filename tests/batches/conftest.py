"""An S3 endpoint over HTTP, as boto3 finds it in production: by its environment."""

from dataclasses import dataclass

import pytest


@dataclass
class Bucket:
    """A bucket on the endpoint; every test gets a new one."""

    name: str
    client: object

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def address(self, prefix: str) -> str:
        return f"s3://{self.name}/{prefix}"


@pytest.fixture(scope="session")
def s3_endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint, monkeypatch, request):
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    name = f"bucket-{abs(hash(request.node.nodeid)):x}"[:60]
    client.create_bucket(Bucket=name)
    return Bucket(name, client)
