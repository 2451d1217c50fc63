"""A circuit breaker around a challenger, so that its failures harm no request.

A graph that never ends would block the event loop, and with it every request. A challenger
therefore computes in threads of its own, within a time-out, and gets no more traffic after several
failures in a row.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roadworthy.bundles.scoring import Columns, Scorer, Stop
from roadworthy.serving.models.timing import Run, run

_FEW_ROWS = 10


class ChallengerError(Exception):
    """The challenger did not answer.

    ``reason`` is ``error`` or ``timeout``, ``breaker`` after several of these in a row, or ``busy``
    where the request did not get its turn, which is no failure of the challenger.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class BreakerLimits:
    """The limits of a challenger.

    Parameters
    ----------
    seconds
        The time-out of one request, from the moment when the challenger begins with it. A request
        that waits as long for its turn is answered by the champion.
    failures
        The number of consecutive failures that opens the breaker.
    threads
        The number of requests that it computes at a time.
    """

    seconds: float = 1.0
    failures: int = 5
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

    async def score(self, columns: Columns, *, patient: bool = False) -> Run:
        """Return the challenger's answers. The caller calls :meth:`record` after a failure.

        Parameters
        ----------
        patient
            Whether the request waits for its turn however long that takes, as no other version may
            answer it.

        Raises
        ------
        ChallengerError
            The graph raised an error, answered with a number that is not finite or exceeded the
            time-out, or the request did not get its turn.
        """
        call = _Call(self._scorer, columns)
        work = self._submit(call)
        future: asyncio.Future[Run] = asyncio.wrap_future(work)
        try:
            await self._wait(work, future, call, patient=patient)
            found = await future
            check_finite(found.answers)
        except ChallengerError:
            raise
        except Exception as error:
            raise ChallengerError("error", str(error)) from error
        finally:
            if not work.done():
                call.stop.now()
            future.cancel()
        self.record(failed=False)
        return found

    async def _wait(
        self, work: Future[Run], future: asyncio.Future[Run], call: _Call, *, patient: bool
    ) -> None:
        """Wait until a call is done. Its time-out counts from its beginning, not in the queue."""
        seconds = self._limits.seconds
        # The work is looked at, not the future: that one hears of its end only when the event loop
        # has time, and a loop that was blocked is not the challenger's failure.
        await asyncio.wait([future], timeout=seconds)
        while call.began is None and not work.done():
            if not patient and work.cancel():
                raise ChallengerError("busy", f"it had no time for it in {seconds:g} s")
            await asyncio.wait([future], timeout=seconds)
        if not work.done() and call.began is not None:
            left = call.began + seconds - time.monotonic()
            await asyncio.wait([future], timeout=max(0.0, left))
            if not work.done():
                raise ChallengerError("timeout", f"no answer in {seconds:g} s")

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


class _Call:
    """A call of a graph, to run in a thread, and when it began there."""

    def __init__(self, scorer: Scorer, columns: Columns) -> None:
        self.stop = Stop()
        self.began: float | None = None
        self._scorer = scorer
        self._columns = columns

    def __call__(self) -> Run:
        self.began = time.monotonic()
        return run(self._scorer, self._columns, self.stop)


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
