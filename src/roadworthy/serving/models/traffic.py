"""Which version answers a request, and what happens when the challenger fails.

A request for a version gets that version or a refusal. Any other request is answered by the
champion or, by traffic weight, by the challenger. If the challenger fails, the champion answers, so
that clients do not notice a rollout.
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
from roadworthy.serving.models.circuit_breaker import ChallengerError, check_finite
from roadworthy.serving.models.metrics import Metrics, Observation
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore, ModelVersions
from roadworthy.serving.models.rejection import Rejection, unavailable
from roadworthy.serving.models.timing import Run, run

_TIMED_PER_SECOND = 100
"""The most requests per second whose model is timed without a rollout, as on a pod."""
_COMPARED_PER_SECOND = 100
"""The most requests per second that both versions answer, which bounds the extra load."""

log = logging.getLogger(__name__)


class Parsed(Protocol):
    """A parsed request; its columns are the graph's inputs."""

    @property
    def columns(self) -> Columns:
        """The input columns."""


P = TypeVar("P", bound=Parsed)
C = TypeVar("C")
T = TypeVar("T")


class Request(NamedTuple, Generic[P, C]):
    """A request to a model, whichever version answers it.

    Parameters
    ----------
    protocol
        ``v1``, ``v2`` or ``grpc``.
    parse
        Validates the request against a version's schema; raises :class:`Rejection`.
    render
        Composes the response of a version.
    """

    protocol: str
    parse: Callable[[LoadedVersion], P]
    render: Callable[[P, Columns, LoadedVersion], C]


class Response(NamedTuple, Generic[C]):
    """A response, and the version that it comes from."""

    loaded: LoadedVersion
    content: C


class Traffic:
    """Distributes requests over the loaded versions.

    Parameters
    ----------
    metrics
        The metrics of the server.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._next_comparison = 0.0
        self._timed = (0, 0)  # a second, and the number of requests in it
        # threads start on demand: there are none without images and rollouts
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "answers")

    async def respond(
        self, model: ModelVersions, pinned: str | None, request: Request[P, C]
    ) -> Response[C]:
        """Return the response of the requested version, or of the one whose turn it is.

        Raises
        ------
        RefusedError
            A version refuses the request.
        Rejection
            No version can answer.
        """
        loaded = choose(model, pinned)
        started = time.perf_counter()
        try:
            if pinned is not None:
                parsed, found = await self._by_version(model, loaded, request)
            elif model.breaker is not None and model.is_challengers_turn():
                loaded, parsed, found, started = await self._by_challenger(model, loaded, request)
            else:
                parsed, found = await self._score(model, loaded, request)
            answers = found.answers
            content = request.render(parsed, answers, loaded)
        except Rejection as rejection:
            self._metrics.observe(
                Observation(loaded, request.protocol, rejection.status, 0.0, None)
            )
            raise RefusedError(rejection, loaded) from None
        seconds = time.perf_counter() - started
        # The versions get like requests only where the client does not choose between them.
        own = found.seconds if pinned is None else None
        self._metrics.observe(Observation(loaded, request.protocol, 200, seconds, answers, own))
        if model.shadow and pinned is None:
            self._compare(model, loaded, request, answers)
        return Response(loaded, content)

    async def _by_version(
        self, model: ModelVersions, loaded: LoadedVersion, request: Request[P, C]
    ) -> tuple[P, Run]:
        if model.breaker is None or loaded is not model.challenger:
            return await self._score(model, loaded, request)
        parsed = await self._run(loaded, lambda: request.parse(loaded))
        try:
            return parsed, await model.breaker.score(parsed.columns, patient=True)
        except ChallengerError as error:
            raise unavailable(
                f"The challenger, version {loaded.version} of {model.name}, does not answer this "
                f"request ({error}): leave out {VERSION_HEADER}."
            ) from error

    async def _by_challenger(
        self, model: ModelVersions, champion: LoadedVersion, request: Request[P, C]
    ) -> tuple[LoadedVersion, P, Run, float]:
        """Return the challenger's answer, or the champion's if it fails, and when it started."""
        challenger, breaker, started = model.challenger, model.breaker, time.perf_counter()
        assert challenger is not None and breaker is not None  # noqa: S101, PT018 - see respond
        try:
            if breaker.is_open:
                raise ChallengerError("breaker", "it failed too often")  # noqa: TRY301
            parsed = await self._run(challenger, lambda: request.parse(challenger))
            return challenger, parsed, await breaker.score(parsed.columns), started
        except (ChallengerError, Rejection) as error:
            started = time.perf_counter()
            # a request that the champion refuses too is not the challenger's failure
            parsed, found = await self._score(model, champion, request)
            reason = error.reason if isinstance(error, ChallengerError) else "error"
            self._metrics.fell_back(challenger, reason)
            if reason != "breaker":
                if reason != "busy":
                    breaker.record(failed=True)
                log.warning(
                    "Version %s of %s did not answer, version %s did: %s",
                    *(challenger.version, model.name, champion.version, error),
                )
            return champion, parsed, found, started

    async def _score(
        self, model: ModelVersions, loaded: LoadedVersion, request: Request[P, C]
    ) -> tuple[P, Run]:
        """Return the parsed request and a version's answers to it."""
        # beside a challenger, which needs threads, so that both go the same way
        in_rollout = model.breaker is not None
        timed = in_rollout or self._is_timed()

        def work() -> tuple[P, Run]:
            parsed = request.parse(loaded)
            found = (
                run(loaded.scorer, parsed.columns)
                if timed
                else Run(loaded.scorer.score(parsed.columns), None)
            )
            try:
                check_finite(found.answers)
            except ArithmeticError as error:
                raise Rejection(
                    422,
                    f"{error} It was not trained for the values of this request: "
                    f"send something else.",
                ) from None
            return parsed, found

        return await self._run(loaded, work, in_thread=in_rollout)

    def _is_timed(self) -> bool:
        second, count = int(time.monotonic()), 0
        if self._timed[0] == second:
            count = self._timed[1]
        self._timed = (second, count + 1)
        return count < _TIMED_PER_SECOND

    async def _run(
        self, loaded: LoadedVersion, work: Callable[[], T], *, in_thread: bool = False
    ) -> T:
        """Run some work, in a thread if images make it long."""
        if not (loaded.schema.has_images or in_thread):
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _compare(
        self,
        model: ModelVersions,
        loaded: LoadedVersion,
        request: Request[Any, Any],
        answers: Columns,
    ) -> None:
        """Let the other version answer the request as well, in the background."""
        now = time.monotonic()
        champion, challenger, breaker = model.champion, model.challenger, model.breaker
        if champion is None or challenger is None or breaker is None or now < self._next_comparison:
            return
        self._next_comparison = now + 1 / _COMPARED_PER_SECOND

        def work(stop: Stop) -> None:
            other = challenger if loaded is champion else champion
            try:
                columns = request.parse(other).columns
                found = other.scorer.score(columns, stop)
                check_finite(found)
            except Exception as error:  # noqa: BLE001 - any error is the graph's failure
                if other is champion:  # the challenger answers more requests, which is no failure
                    self._metrics.not_compared(challenger, "skipped")
                    return
                breaker.record(failed=True)
                log.warning("Version %s of %s: %s", challenger.version, model.name, error)
                self._metrics.not_compared(challenger, "timeout" if stop.is_set else "error")
                return
            breaker.record(failed=False)
            ours, theirs = (answers, found) if loaded is challenger else (found, answers)
            self._metrics.compared(challenger, columns, theirs=theirs, ours=ours)

        if not breaker.run_in_background(work):
            self._metrics.not_compared(challenger, "skipped")


class RefusedError(Exception):
    """A version refuses a request."""

    def __init__(self, rejection: Rejection, loaded: LoadedVersion) -> None:
        super().__init__(rejection.sentence)
        self.rejection = rejection
        self.loaded = loaded


def find(store: ModelStore, name: str) -> ModelVersions:
    """Return the loaded versions of a model.

    Raises
    ------
    Rejection
        404 for a model that does not exist.
    """
    model = store.models.get(name)
    if model is None:
        known = ", ".join(sorted(store.models)) or "none yet"
        shown = orjson.dumps(name[:100]).decode()
        raise Rejection(404, f"There is no model {shown} here: there is {known}.")
    return model


def choose(model: ModelVersions, pinned: str | None) -> LoadedVersion:
    """Return the requested version, or the champion.

    Raises
    ------
    Rejection
        404 for a version that is not loaded, 503 while there is no champion.
    """
    if pinned is not None:
        loaded = model.versions.get(pinned)
        if loaded is None:
            known = " and ".join(sorted(model.versions, key=int)) or "none yet"
            shown = orjson.dumps(pinned[:100]).decode()
            raise Rejection(
                404, f"Version {shown} of {model.name} is not loaded here: there is {known}."
            )
        return loaded
    if model.champion is None:
        challenger = model.challenger
        pin = (
            f", or request version {challenger.version} in the header {VERSION_HEADER}"
            if challenger
            else ""
        )
        raise unavailable(f"{model.name} has no champion deployed yet: retry later{pin}.")
    return model.champion
