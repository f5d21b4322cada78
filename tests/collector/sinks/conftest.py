"""Streams on the AWS endpoint."""

import base64
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Stream:
    """A Kinesis data stream; every test gets a new one."""

    name: str
    client: Any

    def shards(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """Give the shards, each with its records, as Kinesis gives them."""
        shards = self.client.list_shards(StreamName=self.name)["Shards"]
        return [(shard["ShardId"], self._records(shard["ShardId"])) for shard in shards]

    def records(self) -> list[dict[str, Any]]:
        return [record for _, records in self.shards() for record in records]

    def _records(self, shard: str) -> list[dict[str, Any]]:
        at = self.client.get_shard_iterator(
            StreamName=self.name, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[dict[str, Any]] = []
        while True:
            answer = self.client.get_records(ShardIterator=at, Limit=1000)
            if not answer["Records"]:
                return found
            found += answer["Records"]
            at = answer["NextShardIterator"]


@pytest.fixture
def stream(aws):
    import boto3

    client = boto3.client("kinesis")
    name = f"stream-{uuid.uuid4().hex}"
    client.create_stream(StreamName=name, ShardCount=2)
    yield Stream(name, client)
    client.delete_stream(StreamName=name)


@pytest.fixture(scope="session")
def noise() -> Callable[[int], str]:
    """Give what makes text of random bytes, which no compression gets below their number."""
    source = random.Random(7)
    return lambda size: base64.b85encode(source.randbytes(size)).decode()
