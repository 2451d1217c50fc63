"""A circuit breaker around a challenger, so that its failures harm no request.

A graph that never ends would block the event loop, and with it every request. A challenger
therefore computes in threads of its own, within a time-out, and gets no more traffic after several
failures in a row.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roadworthy.bundles.scoring import Columns, Scorer, Stop

_FEW_ROWS = 10


class ChallengerError(Exception):
    """The challenger did not answer. ``reason`` is error, timeout, busy or breaker."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class BreakerLimits:
    """The limits of a challenger.

    Parameters
    ----------
    seconds
        The time-out of one request.
    failures
        The number of consecutive failures that opens the breaker.
    waiting
        The most requests that may wait for the challenger.
    threads
        The number of requests that it computes at a time.
    """

    seconds: float = 1.0
    failures: int = 5
    waiting: int = 128
    threads: int = 2


DEFAULT_LIMITS = BreakerLimits()


class CircuitBreaker:
    """Runs one challenger.

    Parameters
    ----------
    scorer
        Its graph.
    limits
        Its limits.
    """

    def __init__(self, scorer: Scorer, limits: BreakerLimits = DEFAULT_LIMITS) -> None:
        self._scorer = scorer
        self._limits = limits
        # the threads end with this object, even if requests still refer to it
        self._threads = ThreadPoolExecutor(limits.threads, "challenger")
        self._lock = threading.Lock()
        self._waiting = 0
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether the challenger failed so often that it only gets requests for its version."""
        return self._failures >= self._limits.failures

    async def score(self, columns: Columns) -> Columns:
        """Return the challenger's answers. The caller calls :meth:`record` after a failure.

        Raises
        ------
        ChallengerError
            The graph raised an error, answered with a number that is not finite, exceeded the
            time-out, or has too many requests waiting.
        """
        if self._waiting >= self._limits.waiting:
            raise ChallengerError("busy", f"{self._waiting} requests wait for it")
        stop = Stop()
        work = self._submit(self._scorer.score, columns, stop)
        try:
            answers: Columns = await asyncio.wait_for(
                asyncio.wrap_future(work), self._limits.seconds
            )
            check_finite(answers)
        except asyncio.CancelledError:
            stop.now()
            raise
        except TimeoutError:
            stop.now()
            raise ChallengerError("timeout", f"no answer in {self._limits.seconds:g} s") from None
        except Exception as error:
            raise ChallengerError("error", str(error)) from error
        self.record(failed=False)
        return answers

    def run_in_background(self, work: Callable[[Stop], object]) -> bool:
        """Run other work in the challenger's threads if they are idle. Return whether it runs.

        Call this on the event loop. The work calls :meth:`record` and raises nothing.
        """
        if self._waiting or self.is_open:
            return False
        stop = Stop()
        self._submit(work, stop)
        asyncio.get_running_loop().call_later(self._limits.seconds, stop.now)
        return True

    def record(self, *, failed: bool) -> None:
        """Record whether the challenger failed."""
        self._failures = self._failures + 1 if failed else 0

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with self._lock:
            self._waiting += 1
        done = self._threads.submit(work, *arguments)
        done.add_done_callback(self._finished)
        return done

    def _finished(self, _: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1


def check_finite(answers: Columns) -> None:
    """Check that every number of an answer is finite.

    Raises
    ------
    ArithmeticError
        A number is not finite.
    """
    for name, column in answers.items():
        if not _is_finite(column):
            raise ArithmeticError(f"The model answers with a {name} that is not a finite number.")


def _is_finite(column: npt.NDArray[Any]) -> bool:
    if column.dtype.kind != "f":  # lists of unequal length are arrays in a column of objects
        lists = column.dtype == object and column.ndim == 1
        return not lists or all(_is_finite(v) for v in column if isinstance(v, np.ndarray))
    if column.ndim == 1 and len(column) < _FEW_ROWS:
        # numpy's overhead for a few rows is as large as the rest of a request
        return all(map(math.isfinite, column.tolist()))
    return bool(np.isfinite(column).all())
