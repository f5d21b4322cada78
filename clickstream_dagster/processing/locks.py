"""One process at a batch: a locked file in a directory, a lease on S3."""

import fcntl
import json
import os
import time
import uuid
from email.utils import parsedate_to_datetime
from threading import Event, Thread
from threading import Lock as Mutex
from typing import Any, Protocol

from clickstream_dagster.batches.objects import split_object
from clickstream_dagster.batches.s3 import S3Access, clear_aws_errors
from clickstream_dagster.errors import HeldError, LakeError

TERM_SECONDS = 60.0
"""A lease that has not been renewed for so long has no owner: its process was killed."""

RENEWAL_SECONDS = 15.0
_LOOK_SECONDS = 2.0
_WRITES = 5
_RIGHT = "s3:GetObject, s3:PutObject and s3:ListBucket"


class Lock(Protocol):
    """Is held from its making until `release`. Its making raises HeldError while another holds."""

    def require(self) -> None:
        """Raise LakeError unless it is still held."""

    def release(self) -> None:
        """Let it go."""


class FileLock:
    """A lock of the operating system, which ends with the process. Raises HeldError, OSError."""

    def __init__(self, path: str, what: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise _held(what) from error

    def require(self) -> None:
        """Do nothing: nobody can take it away."""

    def release(self) -> None:
        os.close(self._file)


class Lease:
    """An object on S3 that its owner writes again every RENEWAL_SECONDS.

    It is created and taken over by conditional writes (`If-None-Match`, `If-Match`), so that one
    process only can do it. Who finds it watches it: if it is written again, its owner lives, and
    LakeError is raised; if it has not been for TERM_SECONDS by the clock of S3, it is taken over.
    """

    def __init__(self, path: str, what: str, s3: S3Access) -> None:
        self._bucket, self._key = split_object(path)
        self._what = what
        self._client = s3.shared_client()
        self._encryption = s3.encryption()
        self._owner = uuid.uuid4().hex
        self._etag: str | None = None
        self._lost = False
        self._writing = Mutex()
        self._released = Event()
        self._acquire()
        self._renewal = Thread(target=self._keep, name="lease", daemon=True)
        self._renewal.start()

    def require(self) -> None:
        """Raise LakeError unless it is still held; then it is for another TERM_SECONDS."""
        if self._lost or not self._write(self._owner):
            self._lost = True
            raise LakeError(
                f"{self._what} has been taken over by another process, since this one gave no sign"
                f" for {TERM_SECONDS:.0f} s; nothing more of it is written here"
            )

    def release(self) -> None:
        """Let it go; it stays as an object that says so."""
        self._released.set()
        self._renewal.join()
        if self._lost:
            return
        try:
            self._write(None)
        except LakeError:
            return  # it runs out by itself

    def _acquire(self) -> None:
        if self._write(self._owner):
            return
        with self._errors():
            found = self._read()
        watched = found["ETag"]
        while found["owner"] is not None:
            if found["ETag"] != watched:
                raise _held(
                    self._what,
                    f"; if that is killed, it can be run again {TERM_SECONDS:.0f} s later",
                )
            left = TERM_SECONDS - found["age"]
            if left < 0:
                break
            time.sleep(min(left + 1, _LOOK_SECONDS))
            with self._errors():
                found = self._read()
        self._etag = found["ETag"]
        if not self._write(self._owner):
            raise _held(self._what)

    def _keep(self) -> None:
        while not self._released.wait(RENEWAL_SECONDS):
            try:
                if not self._write(self._owner):
                    self._lost = True
                    return
            except LakeError:
                continue  # S3 may be back before the term has ended; `require` will tell

    def _write(self, owner: str | None) -> bool:
        """Write the object over what this process knows of it; say whether that was still true."""
        from botocore.exceptions import ClientError

        body = json.dumps({"owner": owner, "sign": uuid.uuid4().hex}).encode()
        with self._writing, self._errors():
            for number in range(1, _WRITES + 1):
                condition = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
                try:
                    answer = self._client.put_object(
                        Bucket=self._bucket,
                        Key=self._key,
                        Body=body,
                        **self._encryption,
                        **condition,
                    )
                    self._etag = answer["ETag"]
                    return True
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status == 409 and number < _WRITES:  # another write is under way
                        time.sleep(0.1 * number)
                        continue
                    if status == 404 and self._etag is not None:
                        return False
                    if status != 412:
                        raise
                    # The answer to this write or the one before may have been lost.
                    found = self._read()
                    if found["body"] != body and found["owner"] != self._owner:
                        return False
                    self._etag = found["ETag"]
                    if found["body"] == body:
                        return True
        return False

    def _read(self) -> dict[str, Any]:
        answer = self._client.get_object(Bucket=self._bucket, Key=self._key)
        body = answer["Body"].read()
        now = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return {
            "ETag": answer["ETag"],
            "body": body,
            "owner": json.loads(body)["owner"],
            "age": (parsedate_to_datetime(now) - answer["LastModified"]).total_seconds(),
        }

    def _errors(self) -> Any:
        return clear_aws_errors(
            LakeError,
            f"the lease s3://{self._bucket}/{self._key}",
            _RIGHT,
            "create the bucket, or correct its name",
        )


def _held(what: str, more: str = "") -> HeldError:
    return HeldError(
        f"{what} is being processed by another process; wait until that has ended: running it"
        f" again then changes nothing{more}"
    )
