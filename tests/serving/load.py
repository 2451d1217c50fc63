"""Clients that send requests to a server all the time."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException

from tests.serving.conftest import CAR, until

PREDICT = "/v1/models/fuel:predict"
BODY = json.dumps({"instances": [CAR]}).encode()
SECONDS = 120


class Client(threading.Thread):
    """Sends requests all the time, on one connection or on one for each, and keeps the results."""

    def __init__(self, address: str, *, keeps: bool) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.keeps = keeps
        self.seen: list[tuple[object, str | None]] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        connection = HTTPConnection(self.address, timeout=60)
        # A short rest now and then: both a busy and an idle connection meet the restart.
        while not self.stopping.wait(0.02 if len(self.seen) % 7 == 0 else 0):
            try:
                connection.request("POST", PREDICT, BODY)
                answer = connection.getresponse()
                answer.read()
                self.seen.append((answer.status, answer.headers["x-roadworthy-version"]))
            except (OSError, HTTPException) as error:
                self.seen.append((repr(error), None))
                connection.close()
            if not self.keeps:
                connection.close()
        connection.close()

    @property
    def failed(self) -> list[object]:
        return [status for status, _ in self.seen if status != 200]


@contextmanager
def load(address: str) -> Iterator[list[Client]]:
    """Two clients of each kind, which have had some responses when the block begins and ends."""
    clients = [Client(address, keeps=keeps) for keeps in (True, True, False, False)]

    def some_more() -> None:
        before = [len(client.seen) for client in clients]
        until(
            lambda: all(len(c.seen) > n + 5 for c, n in zip(clients, before, strict=True)),
            "some more responses",
            SECONDS,
        )

    for client in clients:
        client.start()
    try:
        some_more()
        yield clients
        some_more()
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(SECONDS)
