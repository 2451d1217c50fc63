"""Which version answers a request, and what happens when the one on trial does not.

A request that asks for a version gets that one or a refusal. One that asks for none is answered by
the champion or, by weight, by the challenger; where the challenger fails, the champion answers,
so that no rollout is seen by who asks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orjson

from roadworthy.bundles.scoring import Columns, Stop
from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.models.circuit_breaker import TrialError, check_finite
from roadworthy.serving.models.metrics import Answered, Metrics
from roadworthy.serving.models.model_store import Fleet, Held, Served
from roadworthy.serving.models.rejection import RETRY_SECONDS, Rejection

_COMPARED_PER_SECOND = 100
"""So many requests are put to both versions: enough to compare them, and no burden."""

log = logging.getLogger(__name__)


class Read(Protocol):
    """A request that was understood; its columns are what the graph takes."""

    @property
    def columns(self) -> Columns:
        """The input columns."""


R = TypeVar("R", bound=Read)
W = TypeVar("W")
T = TypeVar("T")


class Question(NamedTuple, Generic[R, W]):
    """One request, whichever version is to answer it.

    Parameters
    ----------
    protocol
        ``v1``, ``v2`` or ``grpc``.
    read
        Checks the request against a version's schema; raises :class:`Rejection`.
    write
        Composes the answer of a version.
    """

    protocol: str
    read: Callable[[Served], R]
    write: Callable[[R, Columns, Served], W]


class Answer(NamedTuple, Generic[W]):
    """An answer, and the version that gave it."""

    served: Served
    written: W


class Traffic:
    """Puts requests to the versions that are held.

    Parameters
    ----------
    metrics
        Where it is counted who answered what.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._next_comparison = 0.0
        # each starts when there is work for it: without images there is none
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "images")

    async def answer(self, held: Held, pinned: str | None, question: Question[R, W]) -> Answer[W]:
        """Return the answer of the version that is asked for, or of the one whose turn it is.

        Raises
        ------
        Refused
            The request is refused, by a version.
        Rejection
            No version can be asked.
        """
        served = choose(held, pinned)
        started = time.perf_counter()
        try:
            if pinned is not None:
                read, answers = await self._pinned(held, served, question)
            elif held.trial is not None and held.is_challengers_turn():
                served, read, answers, started = await self._on_trial(held, served, question)
            else:
                read, answers = await self._asked(served, question)
            written = question.write(read, answers, served)
        except Rejection as rejection:
            self._metrics.answered(Answered(served, question.protocol, rejection.status, 0.0, None))
            raise Refused(rejection, served) from None
        seconds = time.perf_counter() - started
        self._metrics.answered(Answered(served, question.protocol, 200, seconds, answers))
        if held.shadow and pinned is None:
            self._compare(held, served, question, answers)
        return Answer(served, written)

    async def _pinned(
        self, held: Held, served: Served, question: Question[R, W]
    ) -> tuple[R, Columns]:
        if held.trial is None or served is not held.challenger:
            return await self._asked(served, question)
        read = await self._read(served, question)
        try:
            return read, await held.trial.ask(read.columns)
        except TrialError as error:
            raise Rejection(
                503,
                f"Version {served.version} of {held.model} is on trial and does not answer this "
                f"({error}): ask without {VERSION_HEADER}.",
                headers={"retry-after": RETRY_SECONDS},
            ) from error

    async def _on_trial(
        self, held: Held, champion: Served, question: Question[R, W]
    ) -> tuple[Served, R, Columns, float]:
        """Return the challenger's answer or, where there is none, the champion's; and its start."""
        challenger, trial, started = held.challenger, held.trial, time.perf_counter()
        assert challenger is not None and trial is not None  # noqa: S101, PT018 - asked before
        try:
            if trial.is_given_up:
                raise TrialError("breaker", "it failed too often")  # noqa: TRY301
            asked = await self._read(challenger, question)
            return challenger, asked, await trial.ask(asked.columns), started
        except (TrialError, Rejection) as error:
            started = time.perf_counter()
            # what the champion refuses as well is no fault of the challenger's
            read, answers = await self._asked(champion, question)
            reason = error.reason if isinstance(error, TrialError) else "error"
            self._metrics.fell_back(challenger, reason)
            if reason != "breaker":
                trial.note(failed=True)
                log.warning(
                    "Version %s of %s did not answer, version %s did: %s",
                    *(challenger.version, held.model, champion.version, error),
                )
            return champion, read, answers, started

    async def _asked(self, served: Served, question: Question[R, W]) -> tuple[R, Columns]:
        """Return a request that was read, and the answers to it."""

        def work() -> tuple[R, Columns]:
            read = question.read(served)
            return read, _score(served, read)

        return await self._run(served, work)

    async def _read(self, served: Served, question: Question[R, W]) -> R:
        return await self._run(served, lambda: question.read(served))

    async def _run(self, served: Served, work: Callable[[], T]) -> T:
        """Do some work at once, or in a thread where images make it long."""
        if not served.schema.has_images:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _compare(
        self, held: Held, served: Served, question: Question[Any, Any], answers: Columns
    ) -> None:
        """Put a request that was answered to the other version, in the background."""
        now = time.monotonic()
        champion, challenger, trial = held.champion, held.challenger, held.trial
        if champion is None or challenger is None or trial is None or now < self._next_comparison:
            return
        self._next_comparison = now + 1 / _COMPARED_PER_SECOND

        def work(stop: Stop) -> None:
            other = challenger if served is champion else champion
            try:
                found = other.scorer.score(question.read(other).columns, stop)
                check_finite(found)
            except Exception as error:  # noqa: BLE001 - whatever a graph raises is its failure
                if other is champion:  # then the challenger answers more, which is no fault
                    self._metrics.not_compared(challenger, "skipped")
                    return
                trial.note(failed=True)
                log.warning("Version %s of %s: %s", challenger.version, held.model, error)
                self._metrics.not_compared(challenger, "timeout" if stop.is_set else "error")
                return
            trial.note(failed=False)
            ours, theirs = (answers, found) if served is challenger else (found, answers)
            self._metrics.compared(challenger, theirs=theirs, ours=ours)

        if not trial.aside(work):
            self._metrics.not_compared(challenger, "skipped")


class Refused(Exception):  # noqa: N818 - what a caller did wrong
    """A version refuses a request."""

    def __init__(self, rejection: Rejection, served: Served) -> None:
        super().__init__(rejection.sentence)
        self.rejection = rejection
        self.served = served


def find(fleet: Fleet, name: str) -> Held:
    """Return what is loaded of a model.

    Raises
    ------
    Rejection
        404, there is no such model.
    """
    held = fleet.held.get(name)
    if held is None:
        known = ", ".join(sorted(fleet.held)) or "none yet"
        shown = orjson.dumps(name[:100]).decode()
        raise Rejection(404, f"There is no model {shown} here: there is {known}.")
    return held


def choose(held: Held, pinned: str | None) -> Served:
    """Return the version that is asked for, or the champion.

    Raises
    ------
    Rejection
        404 for a version that is not held, 503 while there is no champion.
    """
    if pinned is None:
        if held.champion is None:
            raise _no_champion(held)
        return held.champion
    served = held.versions.get(pinned)
    if served is None:
        known = " and ".join(sorted(held.versions, key=int)) or "none yet"
        raise Rejection(
            404,
            f"Version {orjson.dumps(pinned[:100]).decode()} of {held.model} is not held here: "
            f"there is {known}.",
        )
    return served


def _score(served: Served, read: Read) -> Columns:
    answers = served.scorer.score(read.columns)
    try:
        check_finite(answers)
    except ArithmeticError as error:
        raise Rejection(
            422, f"{error} It was not trained for what this request says: send something else."
        ) from None
    return answers


def _no_champion(held: Held) -> Rejection:
    pin = (
        ""
        if held.challenger is None
        else f", or name version {held.challenger.version} in the header {VERSION_HEADER}"
    )
    return Rejection(
        503,
        f"{held.model} has no champion deployed yet: ask again later{pin}.",
        headers={"retry-after": RETRY_SECONDS},
    )
