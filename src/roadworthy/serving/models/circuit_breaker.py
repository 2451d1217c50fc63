"""How a challenger is asked, so that whatever it does harms no request of the champion's.

A graph that works for ever would hold the event loop, and with it every request. So a challenger
works in threads of its own, within a time, and is asked no more when it fails again and again.
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

_FEW = 10


class TrialError(Exception):
    """A challenger did not answer; ``reason`` is error, timeout, busy or breaker."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(told)
        self.reason = reason


@dataclass(frozen=True)
class Patience:
    """What is borne with a challenger.

    Parameters
    ----------
    seconds
        How long it may take for one request.
    failures
        How often it may fail, one time after the other, until it is given up.
    waiting
        How many requests may wait for it.
    threads
        How many requests it answers at a time.
    """

    seconds: float = 1.0
    failures: int = 5
    waiting: int = 128
    threads: int = 2


DEFAULT_PATIENCE = Patience()


class Trial:
    """Asks one challenger.

    Parameters
    ----------
    scorer
        Its graph.
    patience
        What is borne with it.
    """

    def __init__(self, scorer: Scorer, patience: Patience = DEFAULT_PATIENCE) -> None:
        self._scorer = scorer
        self._patience = patience
        # its threads end with this object, whatever requests still hold it
        self._threads = ThreadPoolExecutor(patience.threads, "challenger")
        self._lock = threading.Lock()
        self._waiting = 0
        self._failures = 0

    @property
    def is_given_up(self) -> bool:
        """Whether it failed so often that it is asked only by who asks for it."""
        return self._failures >= self._patience.failures

    async def ask(self, columns: Columns) -> Columns:
        """Return the challenger's answers. Who asks is to :meth:`note` a failure that is its own.

        Raises
        ------
        TrialError
            It raised, answered with what is no number, took too long, or has too much to do.
        """
        if self._waiting >= self._patience.waiting:
            raise TrialError("busy", f"{self._waiting} requests wait for it")
        stop = Stop()
        work = self._start(self._scorer.score, columns, stop)
        try:
            answers: Columns = await asyncio.wait_for(
                asyncio.wrap_future(work), self._patience.seconds
            )
            check_finite(answers)
        except asyncio.CancelledError:
            stop.now()
            raise
        except TimeoutError:
            stop.now()
            raise TrialError("timeout", f"no answer in {self._patience.seconds:g} s") from None
        except Exception as error:
            raise TrialError("error", str(error)) from error
        self.note(failed=False)
        return answers

    def aside(self, work: Callable[[Stop], object]) -> bool:
        """Do something else with it in its threads, if it has time; return whether.

        To be called on the event loop. The work is to :meth:`note` how it went, and to raise
        nothing.
        """
        if self._waiting or self.is_given_up:
            return False
        stop = Stop()
        self._start(work, stop)
        asyncio.get_running_loop().call_later(self._patience.seconds, stop.now)
        return True

    def note(self, *, failed: bool) -> None:
        """Note whether the challenger failed."""
        self._failures = self._failures + 1 if failed else 0

    def _start(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        with self._lock:
            self._waiting += 1
        done = self._threads.submit(work, *arguments)
        done.add_done_callback(self._ended)
        return done

    def _ended(self, _: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1


def check_finite(answers: Columns) -> None:
    """Check that every number of an answer is finite.

    Raises
    ------
    ArithmeticError
        One is not.
    """
    for name, column in answers.items():
        if not _is_finite(column):
            raise ArithmeticError(f"The model answers with a {name} that is not a finite number.")


def _is_finite(column: npt.NDArray[Any]) -> bool:
    if column.dtype.kind != "f":  # lists of unequal length are arrays in a column of objects
        lists = column.dtype == object and column.ndim == 1
        return not lists or all(_is_finite(v) for v in column if isinstance(v, np.ndarray))
    if column.ndim == 1 and len(column) < _FEW:
        # for a few rows numpy takes as long as the rest of the answer's way
        return all(map(math.isfinite, column.tolist()))
    return bool(np.isfinite(column).all())
