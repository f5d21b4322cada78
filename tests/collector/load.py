"""Clients that send until the collector dies, and remember what was acknowledged."""

import http.client
import json
import threading
import uuid

from tests.collector.running import QUERY
from tests.served import eventually

CLIENTS = 8
SECONDS_TO_ANSWER = 60


class Load:
    """Clients on connections of their own; `acknowledged` are the ids of events answered 200."""

    def __init__(self, port: int, clients: int = CLIENTS) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self._port = port
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def until(self, events: int) -> None:
        """Wait until so many events have been acknowledged."""
        eventually(lambda: len(self.acknowledged) >= events, SECONDS_TO_ANSWER)

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._ending.is_set():
            event_id = str(uuid.uuid4())
            body = json.dumps([{"event_id": event_id, "padding": "x" * 1_500}])
            try:
                connection.request("POST", f"/collect?{QUERY}", body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                if self._ending.wait(0.02):
                    return
                continue
            if answer.status == 200:
                self.acknowledged.append(event_id)
            else:
                self.refused.append(answer.status)
        connection.close()


def event_ids(records: list[dict]) -> list[str]:
    """Give the ids of the events in records of `Load`."""
    return [event["event_id"] for record in records for event in json.loads(record["data"])]
