"""Code is zipped to the same bytes each time, and put once."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.errors import SettingError
from clickstream_dagster.infra.code import CodeStore, zipped
from clickstream_dagster.infra.stacks import StackError
from tests.conftest import Bucket


def code(folder: Path, text: str = "print(1)\n") -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "handler.py").write_text(text)
    (folder / "inner" / "more.py").write_text("x = 1\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "handler.cpython-311.pyc").write_bytes(b"\0")
    return folder


def test_the_same_content_makes_the_same_bytes(tmp_path: Path) -> None:
    one, two = code(tmp_path / "one"), code(tmp_path / "two")
    os.utime(two / "handler.py", (1, 1_000_000_000))
    (two / "handler.py").chmod(0o700)
    assert zipped(one) == zipped(two)
    assert zipped(one) != zipped(code(tmp_path / "three", "print(2)\n"))
    archive = zipfile.ZipFile(io.BytesIO(zipped(one)))
    assert archive.namelist() == ["handler.py", "inner/more.py"]
    assert archive.read("handler.py") == b"print(1)\n"
    # Lambda runs as another user: it must be able to read.
    assert archive.getinfo("handler.py").external_attr >> 16 == 0o644


def test_a_folder_without_code_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="has no code"):
        zipped(tmp_path / "nothing")


def test_code_is_put_under_its_digest_and_only_once(bucket: Bucket) -> None:
    store = CodeStore(bucket.address("some/place"), "shop", S3Access())
    key = store.put_code("lambda/kinesis_to_s3")
    assert key == store.code_key("lambda/kinesis_to_s3")
    assert key.startswith("some/place/infra/shop/")
    body = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
    assert "handler.py" in zipfile.ZipFile(io.BytesIO(body)).namelist()
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"was here")
    assert store.put_code("lambda/kinesis_to_s3") == key
    assert bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() == b"was here"


def test_a_template_gets_an_address_that_cloudformation_takes(bucket: Bucket) -> None:
    store = CodeStore(bucket.address(""), "shop", S3Access())
    address = store.put_template("Resources: {}", "eu-west-1")
    assert address.startswith(f"https://s3.eu-west-1.amazonaws.com/{bucket.name}/infra/shop/")
    assert store.put_template("Resources: {}", "cn-north-1").startswith(
        f"https://s3.cn-north-1.amazonaws.com.cn/{bucket.name}/"
    )


def test_a_bucket_that_is_not_there_is_told(aws: str) -> None:
    store = CodeStore("s3://no-such-bucket-at-all/x", "shop", S3Access())
    with pytest.raises(StackError, match=r"no-such-bucket-at-all .*does not exist; apply the"):
        store.put_code("lambda/kinesis_to_s3")
