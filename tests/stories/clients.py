"""Customers in a process of their own, who ask all the time until the block ends.

Each connection makes only short pauses; every answer is counted by its status and version, and a
request that got none by what happened instead. Nothing is asked twice.
"""

import http.client
import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 3
PAUSE_SECONDS = 0.01

ended = threading.Event()


class Asked:
    """What customers got."""

    def __init__(self, result: Path) -> None:
        self._result = result

    @property
    def counts(self) -> Counter[str]:
        """How many answers there were of each status and version."""
        return Counter(json.loads(self._result.read_text()) if self._result.exists() else {})

    @property
    def statuses(self) -> set[str]:
        """All that was answered, and what happened where nothing was."""
        return {name.split()[0] for name in self.counts}

    @property
    def versions(self) -> set[str]:
        """Who answered."""
        return {name.split()[1] for name in self.counts if name.startswith("200")}


@contextmanager
def asking(address: str, requests: list[dict[str, Any]], place: Path) -> Iterator[Asked]:
    """Let customers post the requests to an address of V1 while the block runs."""
    sent, result = place / "requests.json", place / "result.json"
    sent.write_text(json.dumps(requests))
    process = subprocess.Popen([sys.executable, __file__, address, str(sent), str(result)])
    asked = Asked(result)
    try:
        deadline = time.monotonic() + 30
        while sum(asked.counts.values()) <= 20:
            assert time.monotonic() < deadline, "no customer got an answer"
            time.sleep(0.02)
        yield asked
    finally:
        process.terminate()
        process.wait(30)


def main(address: str, requests: str, result: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    asked = json.loads(Path(requests).read_text())
    counts: Counter[str] = Counter()
    given = [(address, asked, counts, seed) for seed in range(CONNECTIONS)]
    threads = [threading.Thread(target=ask, args=arguments) for arguments in given]
    for thread in threads:
        thread.start()
    while not ended.wait(0.05):
        tell(result, counts)
    for thread in threads:
        thread.join()
    tell(result, counts)


def ask(address: str, asked: list[dict], counts: Counter[str], seed: int) -> None:
    order = random.Random(seed)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    for _ in itertools.count():
        if ended.is_set():
            return
        body = json.dumps({"instances": [order.choice(asked)]})
        try:
            connection.request("POST", urlsplit(address).path, body)
            answer = connection.getresponse()
            told = answer.read()
            version = answer.getheader("x-roadworthy-version", "none")
            good = answer.status == 200 and b"predictions" in told
            counts[f"{answer.status if good else f'bad {answer.status}'} {version}"] += 1
        except (OSError, http.client.HTTPException) as error:
            counts[f"lost {type(error).__name__}"] += 1
            with suppress(OSError):
                connection.close()
            time.sleep(0.05)
        time.sleep(PAUSE_SECONDS)


def tell(result: str, counts: Counter[str]) -> None:
    scratch = Path(f"{result}.new")
    scratch.write_text(json.dumps(dict(counts)))
    scratch.rename(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
