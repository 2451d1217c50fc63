"""Clients in a process of their own: ``python clients.py URL REQUESTS RESULT``, until SIGTERM.

Some connections ask all the time, each without a pause for long; every answer is counted by its
status and version, and a request that got none by what happened instead. Nothing is asked twice.
"""

import http.client
import itertools
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

CONNECTIONS = 3
PAUSE_SECONDS = 0.01

ended = threading.Event()


def main(url: str, requests: str, result: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    asked = json.loads(Path(requests).read_text())
    counts: Counter[str] = Counter()
    threads = [
        threading.Thread(target=ask, args=(url, asked, counts, seed)) for seed in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    while not ended.wait(0.05):
        tell(result, counts)
    for thread in threads:
        thread.join()
    tell(result, counts)


def ask(url: str, asked: list[dict], counts: Counter[str], seed: int) -> None:
    order = random.Random(seed)
    host = url.partition("//")[2]
    connection = http.client.HTTPConnection(host, timeout=20)
    for _ in itertools.count():
        if ended.is_set():
            return
        body = json.dumps({"instances": [order.choice(asked)]})
        try:
            connection.request("POST", "/v1/models/fuel:predict", body)
            answer = connection.getresponse()
            told = answer.read()
            version = answer.getheader("x-roadworthy-version", "none")
            good = answer.status == 200 and b"mpg" in told
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
