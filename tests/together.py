"""Calls that begin together, as those of people who know nothing of each other may."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Start calls at the same moment and return what they return."""
    gate = threading.Barrier(len(calls))

    def waited(call):
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(waited, calls))
