"""Messages of a queue become announcements, and are deleted only behind that."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pytest

from clickstream_dagster.batches import announced as announced_module
from clickstream_dagster.batches import ledger as ledger_module
from clickstream_dagster.batches import queue as queue_module
from clickstream_dagster.batches.ledger import Announced, Ledger
from clickstream_dagster.batches.queue import Queue, queue_place, take_announcements
from clickstream_dagster.batches.store import open_store
from clickstream_dagster.errors import LakeError, SourceError
from tests.batches.test_ledger import key, window, window_of


@pytest.fixture(autouse=True)
def only_announcements(monkeypatch):
    """What is late in these tests is found by its announcement; an empty queue is told at once."""
    monkeypatch.setattr(ledger_module, "SWEEP_OBJECTS", 0)
    monkeypatch.setattr(ledger_module, "LOOKBACK_MS", 0)
    monkeypatch.setattr(queue_module, "_WAIT_SECONDS", 0)


@pytest.fixture
def ledger(bucket):
    store = open_store(bucket.address("lake/_ledger/shop"))
    return Ledger(store, bucket.address("raw"), window_of)


@pytest.fixture
def look(queue, ledger):
    return lambda **limits: take_announcements(Queue(queue.url), ledger, **limits)


def opened(ledger, number):
    manifest = ledger.open(window(number))
    return [ledger.source.key(object_.uri) for object_ in manifest.objects]


def test_announced_objects_ask_for_their_windows_and_their_messages_are_gone(
    bucket, queue, ledger, look
):
    bucket.put(f"raw/{key(3)}", b"x")
    bucket.put(f"raw/{key(3, 7)}", b"x")
    bucket.put(f"raw/{key(40)}", b"x")
    received = look()
    assert received.messages == 4  # with S3's test event
    assert received.announced == Announced(recorded=3)
    assert ledger.announced() == {window(3), window(40)}
    assert queue.bodies() == []
    assert opened(ledger, 3) == [key(3), key(3, 7)]
    assert ledger.announced() == {window(40)}


def test_an_object_that_is_announced_late_gets_into_the_next_window_however_old(
    bucket, ledger, look
):
    opened(ledger, 3)
    bucket.put(f"raw/{key(3, 1)}", b"x")
    look()
    assert ledger.announced() == {None}
    assert opened(ledger, 1_000) == [key(3, 1)]
    assert ledger.announced() == set()
    assert opened(ledger, 1_001) == []


def test_announcements_find_what_no_listing_of_hours_would(bucket, ledger, look):
    odd = f"topic+1/{PurePosixPath(key(3)).name}"
    bucket.put(f"raw/{odd}", b"x")
    look()
    assert opened(ledger, 3) == [odd]


def test_a_message_that_comes_again_does_no_harm(bucket, queue, ledger, look):
    bucket.put(f"raw/{key(3)}", b"x")
    (body,) = [body for body in queue.bodies() if "Records" in body]
    queue.send(body)
    assert look().announced == Announced(recorded=1)  # twice in one look
    queue.send(body)
    assert look().announced == Announced(recorded=1)  # again, before its window is opened
    assert opened(ledger, 3) == [key(3)]
    queue.send(body)
    assert look().announced == Announced(known=1)  # and behind that
    assert ledger.announced() == set()
    assert opened(ledger, 4) == []


def test_messages_stay_until_the_announcements_are_durable(
    bucket, queue, ledger, look, monkeypatch
):
    monkeypatch.setattr(queue_module, "VISIBILITY_SECONDS", 0)
    bucket.put(f"raw/{key(3)}", b"x")
    broken = Ledger(open_store("s3://no-such-bucket/lake"), ledger.source, window_of)
    with pytest.raises(LakeError):
        take_announcements(Queue(queue.url), broken, most=2)
    assert len(queue.bodies()) == 2
    assert look(most=10).announced.recorded == 1
    assert opened(ledger, 3) == [key(3)]


def test_an_announced_object_that_is_gone_or_rewritten_is_taken_as_it_is_now(bucket, ledger, look):
    opened(ledger, 3)
    bucket.put(f"raw/{key(3, 1, 'gone')}", b"x")
    bucket.put(f"raw/{key(3, 2, 'rewritten')}", b"x")
    look()
    bucket.client.delete_object(Bucket=bucket.name, Key=f"raw/{key(3, 1, 'gone')}")
    bucket.put(f"raw/{key(3, 2, 'rewritten')}", b"other")
    manifest = ledger.open(window(500))
    assert [object_.size for object_ in manifest.objects] == [5]
    assert ledger.announced() == set()
    assert look().announced == Announced(known=1)  # the second message of the rewritten one


def test_what_is_no_object_of_the_project_is_deleted_and_counted(bucket, queue, ledger, look):
    bucket.put("raw/_SUCCESS", b"")
    bucket.put("raw/year=2026/", b"")
    bucket.put(f"raw/{key(-1)}", b"x")
    foreign = json.loads(next(body for body in queue.bodies() if "Records" in body))
    foreign["Records"][0]["s3"]["bucket"]["name"] = "another"
    queue.send(foreign)
    foreign["Records"][0]["s3"]["bucket"]["name"] = bucket.name
    foreign["Records"][0]["s3"]["object"]["key"] = "rawer/a.gz"
    queue.send(foreign)
    received = look()
    assert received.foreign == 4
    assert received.announced == Announced(outside=1)
    assert queue.bodies() == []
    assert ledger.announced() == set()


def test_a_message_that_cannot_be_read_is_told_and_ends_in_the_dead_letter_queue(
    bucket, queue, ledger, look, monkeypatch
):
    look()  # S3's test event
    monkeypatch.setattr(queue_module, "VISIBILITY_SECONDS", 0)
    dead = queue.client.create_queue(QueueName=f"dead-{bucket.name}"[:80])["QueueUrl"]
    arn = queue.client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 3}
    queue.client.set_queue_attributes(
        QueueUrl=queue.url, Attributes={"RedrivePolicy": json.dumps(policy)}
    )
    queue.send("hello")
    bucket.put(f"raw/{key(3)}", b"x")
    received = look(most=2)
    assert received.announced.recorded == 1
    (told,) = received.unreadable
    assert told.endswith("not JSON: Expecting value: line 1 column 1 (char 0)")
    for _ in range(4):
        look(most=2)
    assert queue.bodies() == []
    (message,) = queue.client.receive_message(QueueUrl=dead)["Messages"]
    assert message["Body"] == "hello"


def test_one_look_is_bounded_and_the_next_goes_on(bucket, queue, ledger, look):
    for minute in range(25):
        bucket.put(f"raw/{key(3, minute)}", b"x")
    assert look(most=12).messages == 12
    assert look(seconds=0).messages == 0
    assert look().messages == 14
    assert len(opened(ledger, 3)) == 25


def test_several_who_look_at_once_share_the_messages(bucket, queue, ledger, look):
    for minute in range(30):
        bucket.put(f"raw/{key(minute % 3, minute)}", b"x")
    with ThreadPoolExecutor(4) as pool:
        looks = list(pool.map(lambda _: look(), range(4)))
        openings = list(pool.map(lambda number: opened(ledger, number), [0, 1, 2, 0, 1, 2]))
    assert sum(received.announced.recorded for received in looks) == 30
    assert openings[:3] == openings[3:]
    assert len({name for names in openings for name in names}) == 30
    assert ledger.announced() == set()


def test_late_announcements_beyond_a_number_wait_for_the_window_after(
    bucket, ledger, look, monkeypatch
):
    monkeypatch.setattr(ledger_module, "LATE_ANNOUNCED", 1)
    monkeypatch.setattr(announced_module, "CONNECTIONS", 2)  # so many files are read at once
    opened(ledger, 0)
    for minute in range(3):  # each look is one file
        bucket.put(f"raw/{key(0, minute)}", b"x")
        look(most=2)
    first, second = opened(ledger, 500), opened(ledger, 501)
    assert len(first) == 2
    assert sorted(first + second) == [key(0, minute) for minute in range(3)]


def test_a_missing_queue_is_an_error_that_names_it(queue, ledger):
    with pytest.raises(SourceError, match="nowhere does not exist; create it"):
        take_announcements(Queue(f"{queue.url}-nowhere"), ledger)


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/a", "eu-west-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/a", "cn-north-1", None),
        (
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/a",
            "eu-west-1",
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
        ),
        ("http://127.0.0.1:5000/1/a", None, "http://127.0.0.1:5000"),
    ],
)
def test_the_url_of_a_queue_tells_where_it_is(url, region, endpoint):
    assert queue_place(url) == (region, endpoint)


@pytest.mark.parametrize("url", ["shop-raw", "arn:aws:sqs:eu-west-1:1:a", "https://host", ""])
def test_what_is_no_url_of_a_queue_is_refused(url):
    with pytest.raises(SourceError, match="is no URL of a queue"):
        queue_place(url)
