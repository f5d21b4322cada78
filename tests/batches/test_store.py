"""A ledger's store keeps small files, and creates each of them only once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from clickstream_dagster.batches.ledger import Ledger
from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.batches.store import S3Store, open_store
from clickstream_dagster.errors import LakeError
from tests.batches.odd_server import odd_server
from tests.batches.test_ledger import window, window_of


@pytest.fixture(params=["directory", "s3"])
def store(request, tmp_path):
    if request.param == "directory":
        return open_store(str(tmp_path / "ledger"))
    return open_store(request.getfixturevalue("bucket").address("lake/_ledger/shop"))


def test_what_is_written_is_read_listed_and_deleted(store):
    assert store.read("a/b") is None
    store.write("a/b", b"1")
    store.write("a/b", b"2")
    store.write("a/a", b"")
    assert store.read("a/b") == b"2"
    assert store.names("a") == ["a", "b"]
    assert store.exists("a/b")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    assert store.names("a") == ["a"]
    assert store.names("elsewhere") == []


def test_of_many_who_create_a_file_one_does(store):
    with ThreadPoolExecutor(16) as pool:
        for number in range(5):
            created = list(
                pool.map(lambda who, n=number: store.create(f"{n}", str(who).encode()), range(16))
            )
            assert created.count(True) == 1
            assert store.read(f"{number}") == str(created.index(True)).encode()


def test_what_is_written_is_encrypted_with_the_key_of_the_settings(bucket, aws):
    access = S3Access(region="us-east-1", endpoint_url=aws, kms_key_id="alias/clickstream")
    store = open_store(bucket.address("lake"), access)
    store.create("created", b"1")
    store.write("written", b"2")
    for key in ("created", "written"):
        told = bucket.client.head_object(Bucket=bucket.name, Key=f"lake/{key}")
        assert told["ServerSideEncryption"] == "aws:kms"
        assert told["SSEKMSKeyId"] == "alias/clickstream"


def test_the_endpoint_and_the_profile_of_the_settings_are_used(bucket, aws, tmp_path, monkeypatch):
    (tmp_path / "config").write_text("[profile shop]\nregion = us-east-1\n")
    (tmp_path / "keys").write_text("[shop]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    store = open_store(bucket.address("lake"), S3Access(profile="shop", endpoint_url=aws))
    store.write("key", b"1")
    assert bucket.client.get_object(Bucket=bucket.name, Key="lake/key")["Body"].read() == b"1"


def test_a_missing_bucket_and_a_server_that_is_away_are_errors_that_name_them(aws):
    with pytest.raises(LakeError, match="s3://no-such-bucket/lake/ does not exist; create"):
        open_store("s3://no-such-bucket/lake").read("key")
    away = S3Store("s3://bucket/lake", S3Access(endpoint_url="http://127.0.0.1:1"))
    away._s3.meta.config.retries["total_max_attempts"] = 1
    with pytest.raises(LakeError, match="can't be reached"):
        away.read("key")


def test_a_write_that_meets_another_one_is_tried_again(aws):
    with odd_server(conflicts=3) as address:
        store = open_store("s3://bucket/lake", S3Access(endpoint_url=address))
        assert store.create("key", b"1")
        assert not store.create("key", b"2")
        assert store.read("key") == b"1"


def test_a_server_without_conditional_writes_is_refused_before_anything_is_taken(aws, tmp_path):
    with odd_server(conditional=False) as address:
        store = open_store("s3://bucket/lake", S3Access(endpoint_url=address))
        with pytest.raises(LakeError, match="If-None-Match"):
            Ledger(store, str(tmp_path), window_of).open(window(0))
        assert store.read("log/000000000001.json") is None
