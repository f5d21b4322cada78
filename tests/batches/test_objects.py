"""Listing gives the raw objects of a directory and of an S3 prefix alike."""

import contextlib
import os
import socket

import pytest

from clickstream_dagster.batches.objects import Source, list_objects, relative_key, would_list
from clickstream_dagster.errors import SourceError

KEYS = [
    "year=2026/month=11/day=09/hour=23/1-a.log.gz",
    "year=2026/month=11/day=10/hour=00/2-b.log.gz",
    "year=2026/month=11/day=10/hour=00/3-c.log.gz",
    "year=2026/month=11/day=10.gz",
    "year=2026/month=11/day=10/hour=01/4-d.log.gz",
    "z.gz",
]
NO_OBJECTS = ["_SUCCESS", "year=2026/.part", "_temporary/year=2026/a.gz", "year=2026/_x/a.gz"]


@pytest.fixture(params=["directory", "s3"])
def source(request, tmp_path, bucket):
    if request.param == "s3":
        for key in KEYS + NO_OBJECTS + ["raw/", "year=2026/"]:
            bucket.put(f"raw/{key}", key.encode())
        bucket.put("raw-other/a.gz", b"beside the prefix")
        return bucket.address("raw")
    for key in KEYS + NO_OBJECTS:
        path = tmp_path / "raw" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    return str(tmp_path / "raw")


def keys(source, **options):
    return [relative_key(source, object_.uri) for object_ in list_objects(source, **options)]


def test_objects_come_in_the_order_of_their_keys_without_markers(source):
    assert keys(source) == sorted(KEYS)


def test_a_listing_starts_after_any_key_and_stops_at_its_limit(source):
    for place, key in enumerate(sorted(KEYS)):
        assert keys(source, start_after=key) == sorted(KEYS)[place + 1 :]
    assert keys(source, start_after="year=2026/month=11/day=10/", limit=2) == sorted(KEYS)[2:4]


def test_an_object_tells_size_arrival_and_content(source):
    first = next(list_objects(source))
    assert first.size == len(relative_key(source, first.uri))
    assert first.arrival_ms > 1_600_000_000_000
    assert first.etag


def test_only_regular_files_are_raw_objects(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"a")
    (tmp_path / "link.gz").symlink_to(tmp_path / "a.gz")
    (tmp_path / "nowhere.gz").symlink_to(tmp_path / "gone")
    (tmp_path / "folder.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.gz")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
        server.bind("socket.gz")
    assert keys(str(tmp_path)) == ["a.gz", "link.gz"]
    found = Source(str(tmp_path)).find(os.listdir(tmp_path))
    assert sorted(found) == ["a.gz", "link.gz"]


@pytest.mark.parametrize("kind", [os.mkdir, lambda path: open(path, "wb").close()])
def test_a_name_that_is_no_text_is_an_error_that_shows_it(tmp_path, kind):
    kind(os.path.join(os.fsencode(tmp_path), b"caf\xe9.gz"))
    with pytest.raises(SourceError, match=r"b'caf\\xe9\.gz', a name that is no UTF-8: rename it"):
        list(list_objects(str(tmp_path)))
    os.rename(os.path.join(os.fsencode(tmp_path), b"caf\xe9.gz"), tmp_path / "café.gz")
    (tmp_path / "_café.gz").touch()
    assert len(keys(str(tmp_path))) == (tmp_path / "café.gz").is_file()


def test_links_to_folders_are_followed_once(tmp_path):
    for name in ("raw/day", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.gz").write_bytes(b"a")
    (tmp_path / "raw" / "day" / "up").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "raw")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    assert keys(str(tmp_path / "raw")) == ["day/a.gz", "linked/a.gz"]


def test_a_missing_directory_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match="nowhere does not exist; create it"):
        list(list_objects(str(tmp_path / "nowhere")))
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file"):
        list(list_objects(str(tmp_path / "file")))


def test_an_empty_directory_and_an_empty_prefix_hold_nothing(tmp_path, bucket):
    assert keys(str(tmp_path)) == []
    assert keys(bucket.address("nothing/here")) == []


def test_a_missing_bucket_is_an_error_that_names_it(bucket):
    with pytest.raises(SourceError, match="no-such-bucket/raw does not exist"):
        list(list_objects("s3://no-such-bucket/raw"))


@pytest.mark.parametrize(
    ("source", "folder", "expected"),
    [
        ("s3://b/raw", "s3://b/raw", True),
        ("s3://b/raw/", "s3://b/raw/lake", True),
        ("s3://b", "s3://b/lake", True),
        ("s3://b/raw", "s3://b/raw/_lake/shop", False),
        ("s3://b/raw", "s3://b/raw-lake", False),
        ("s3://b/raw", "s3://other/raw/lake", False),
        ("s3://b/raw/lake", "s3://b/raw", False),
        ("s3://b/raw", "/b/raw/lake", False),
        ("/data/raw", "/data/raw/./lake", True),
        ("/data/raw", "/data/other/../raw", True),
        ("/data/raw", "file:///data/raw/lake", True),
        ("/data/raw", "/data/raw/.lake", False),
        ("/data/raw", "/data/raw_lake", False),
    ],
)
def test_a_folder_in_a_source_is_told_from_one_that_listing_skips(source, folder, expected):
    assert would_list(source, folder) is expected


def test_a_folder_in_a_source_is_found_by_whatever_name(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    assert would_list(str(tmp_path / "raw"), str(tmp_path / "link" / "lake"))
