"""The local target: the model server of this machine, which watches the routing files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import tenacity

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.http import connect
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import analysis, record, workers
from roadworthy.rollout.engine.analysis import TrafficStats
from roadworthy.rollout.engine.record import RecordStore, RollbackIntent
from roadworthy.rollout.engine.state import (
    RefusedError,
    Rollout,
    RolloutError,
    Strategy,
)
from roadworthy.rollout.engine.target import Status, nothing
from roadworthy.rollout.engine.verification import Verification, verify
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.local import server
from roadworthy.rollout.local.local_records import LocalRecords, changing
from roadworthy.rollout.local.placement import is_whole, place, placed
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing, RoutingError

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Version

_POLL_SECONDS = 0.05
_WORDS = {"staged": "staged", "ready": "verifying", "verified": "verifying", "shifting": "shifting"}
"""The names of a rollout's states in the routing file."""


log = logging.getLogger(__name__)


class LocalTarget:
    """The model server of this machine.

    Parameters
    ----------
    settings
        The directories of the routing files and bundles, and the server's address.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.metrics_source, self.metrics_remedy = "the server", ""
        self.records: RecordStore = LocalRecords(settings)

    def check(self, strategy: Strategy) -> None:
        """Refuse what one server does not support."""
        if strategy == "rolling":
            raise RolloutError(
                "One server on this machine has no replicas to replace one by one, so `rolling` "
                "is not supported: use `--strategy canary` or `--strategy blue-green`."
            )

    def stage(
        self, rollout: Rollout, bundle: Bundle, meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Copy the bundle, write the routing file, and wait until the server has loaded it."""
        self._write(rollout, place(self._settings, bundle, rollout.version))
        self._wait(
            rollout,
            lambda worker: _check_held(worker, rollout.version, bundle.digest),
            meanwhile,
            what=f"Version {rollout.version} of {rollout.model} did not come up",
        )

    def shift(self, rollout: Rollout, meanwhile: Callable[[], None] = nothing) -> None:
        """Write the weight to the routing file, and wait until the server applies it."""
        self._write(rollout)
        if rollout.plan:
            self._wait(
                rollout,
                lambda worker: _check_weight(worker, rollout),
                meanwhile,
                what=f"Version {rollout.version} of {rollout.model} did not get {rollout.weight} %",
            )

    def verify(self, rollout: Rollout, golden: Golden) -> Verification:
        """Send the golden requests to the server."""
        settings = self._settings
        return verify(
            settings.serving_url, rollout.model, rollout.version, golden, token=settings.token
        )

    def metrics_problem(self, rollout: Rollout) -> str:
        """Return nothing: the server that answers has its metrics, too."""
        del rollout
        return ""

    def observe(self, rollout: Rollout) -> TrafficStats | None:
        """Read the server's ``/metrics``."""
        self._check_undisturbed(rollout)
        try:
            with connect(self._settings.serving_url, self._settings.token) as client:
                answer = client.get("/metrics", headers={"accept": "text/plain"})
            told = answer.raise_for_status().text
            return analysis.read(told, rollout.model, rollout.champion, rollout.version)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None

    def promote(self, rollout: Rollout) -> None:
        """Write the version to the routing file as the champion."""
        self._write(rollout)

    def roll_back(self, rollout: Rollout, *, finish: bool = True) -> None:
        """Write the routing file without the version."""
        del finish  # nothing here is slow
        self._write(rollout)

    def deployed(self, model: str) -> tuple[int, int]:
        """Read the routing file."""
        now = routes.read(self._settings.routing, model)
        return _number(now.champion), _number(now.challenger)

    def former(self, model: str) -> int:
        """Read the champion before from the routing file, if its bundle is whole."""
        found = routes.read(self._settings.routing, model).previous
        return found.version if found is not None and is_whole(found.bundle, found.digest) else 0

    def put_back(self, intent: RollbackIntent) -> None:
        """Write the routing file with the champion alone."""
        release = self._release(intent) if intent.champion else None
        record.leave(self.records, intent)
        self._follow(intent, release)

    def wait_for(self, intent: RollbackIntent) -> str:
        """Ask every process of the server which version answers."""
        settings, model = self._settings, intent.model
        url = server.address(settings)
        end = time.monotonic() + settings.ready_seconds
        told: set[int] = set()
        while url and time.monotonic() < end:
            told = self._answering(url, model)
            if told == {intent.champion}:
                return url
            time.sleep(_POLL_SECONDS)
        if not url:
            return ""
        instead = " and ".join(map(str, sorted(told))) or "nothing"
        raise RolloutError(
            f"Version {intent.champion} of {model} is deployed, but {url} still answers with "
            f"{instead} after {settings.ready_seconds:g} s. Look at the server's log."
        )

    def redo(self, intent: RollbackIntent) -> bool:
        """Make the routing file follow the intent."""
        champion, challenger = self.deployed(intent.model)
        if champion in intent.taken_off or challenger in intent.taken_off:
            self._follow(intent, self._release(intent) if intent.champion else None)
        return True

    def status(self, model: str) -> Status:
        """Read the routing file, and compare it with the server."""
        url = server.address(self._settings)
        found = Status(model, f"the server at {url}" if url else "no server", url)
        try:
            now = routes.read(self._settings.routing, model)
        except RoutingError as error:
            return replace(found, problem=str(error))
        found = replace(
            found,
            champion=_number(now.champion),
            challenger=_number(now.challenger),
            weight=now.weight,
        )
        if now == Routing(model):
            told = f"{model} is not deployed: `roadworthy run {model}` makes a first version."
            return replace(found, problem=told)
        if not url:
            told = f"No server serves {self._settings.home}: start one with `roadworthy serve`."
            return replace(found, problem=told)
        problem = self._difference(now, url)
        return replace(found, ready=bool(found.champion) and not problem, problem=problem)

    def _difference(self, now: Routing, url: str) -> str:
        """Return how the server differs from the routing file, in a sentence; empty if not."""
        expected = [one for one in (now.champion, now.challenger) if one is not None]
        try:
            with connect(url, self._settings.token) as client:
                for worker in workers.ask(client, now.model):
                    for one in expected:
                        _check_held(worker, one.version, one.digest)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{url} does not answer ({_cause(error)}). Start it with `roadworthy serve`."
        except NotYetError as error:
            return f"{url} differs from its routing file: {error}. Look at the server's log."
        return ""

    def _write(self, rollout: Rollout, release: Release | None = None) -> None:
        """Write the routing file; fetch a lost champion first, while others may hold the lock."""
        champion, fetched = None, False
        while True:
            with changing(self._settings, rollout.model):
                self._check_undisturbed(rollout)
                before = self._routing(rollout.model)
                lost = before.champion is None and rollout.champion not in (0, rollout.version)
                if fetched or not lost:
                    now = replace(before, champion=champion) if lost else before
                    after = projected(now, rollout, release)
                    if after != before:
                        routes.write(self._settings.routing, after)
                    return
            champion, fetched = self._lost_champion(rollout), True

    def _follow(self, intent: RollbackIntent, release: Release | None) -> None:
        with changing(self._settings, intent.model):
            now = routes.read(self._settings.routing, intent.model)
            routes.write(self._settings.routing, put_back(now, intent, release))

    def _release(self, intent: RollbackIntent) -> Release:
        """Return the release of an intent's champion, with its bundle on this machine."""
        now = routes.read(self._settings.routing, intent.model)
        if now.champion is not None and now.champion.version == intent.champion:
            return now.champion  # deployed, so its bundle need not be read
        before = now.previous
        number = before.version if before else 0
        if before and number == intent.champion and is_whole(before.bundle, before.digest):
            return before
        return placed(self._settings, self._version(intent.model, intent.champion))

    def _version(self, model: str, number: int) -> Version:
        # here: MLflow takes seconds to import, and is needed only without a routing file
        from roadworthy.tracking.registry import Registry

        return Registry.of(self._settings).version(model, number)

    def _answering(self, url: str, model: str) -> set[int]:
        """Return the versions with a weight in any process of the server."""
        try:
            with connect(url, self._settings.token) as client:
                told = workers.ask(client, model)
                parts = [part for worker in told for part in workers.weights(worker).items()]
                return {version for version, weight in parts if weight}
        except (httpx.HTTPError, httpx.InvalidURL, NotYetError):
            return set()

    def _routing(self, model: str) -> Routing:
        """Return the routing file; an empty one where it is damaged."""
        try:
            return routes.read(self._settings.routing, model)
        except RoutingError:
            return Routing(model)

    def _lost_champion(self, rollout: Rollout) -> Release | None:
        """Return the registry's champion, fetched again; None if a rollback cannot have it."""
        model = rollout.model
        log.warning("The routing file of %s was lost: its champion is fetched again.", model)
        try:
            return placed(self._settings, self._version(model, rollout.champion))
        except RoadworthyError as error:
            if rollout.state != "rolled back":
                raise
            # the rollout must end all the same; `roadworthy serve` tries again
            log.error("The champion of %s is not deployed: %s", model, error)  # noqa: TRY400
            return None

    def _check_undisturbed(self, rollout: Rollout) -> None:
        self.records.read(rollout.model).check_undisturbed()

    def _wait(
        self,
        rollout: Rollout,
        check: Callable[[Any], None],
        meanwhile: Callable[[], None],
        *,
        what: str,
    ) -> None:
        """Wait until every process of the server passes a check."""
        settings, model = self._settings, rollout.model

        @tenacity.retry(
            stop=tenacity.stop_after_delay(settings.ready_seconds),
            wait=tenacity.wait_fixed(_POLL_SECONDS),
            retry=tenacity.retry_if_exception_type((httpx.HTTPError, NotYetError)),
            reraise=True,
        )
        def ask() -> None:
            meanwhile()
            with connect(settings.serving_url, settings.token) as client:
                for worker in workers.ask(client, model):
                    check(worker)

        try:
            ask()
        except (httpx.HTTPError, httpx.InvalidURL, NotYetError) as error:
            why = self._refusal(rollout)
            if why:
                raise RefusedError(f"{what} at {settings.serving_url}: {why}") from error
            raise RolloutError(
                f"{what} at {settings.serving_url} within {settings.ready_seconds:g} s "
                f"({_cause(error)}). Look at the server's log; is it the one "
                f"that watches {settings.routing}?"
            ) from error

    def _refusal(self, rollout: Rollout) -> str:
        """Return why the server refuses the version; empty if it does not."""
        try:
            with connect(self._settings.serving_url, self._settings.token) as client:
                entries = client.post("/v2/repository/index").raise_for_status().json()
            return next(
                (
                    str(one["reason"])
                    for one in entries
                    if (one["name"], one["version"]) == (rollout.model, str(rollout.version))
                ),
                "",
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
            return ""


def projected(now: Routing, rollout: Rollout, release: Release | None = None) -> Routing:
    """Return the routing file of a rollout.

    Parameters
    ----------
    now
        The current routing file.
    release
        The version's release, where it is not deployed yet.

    Raises
    ------
    RolloutError
        The version is not deployed, so it can have no weight and cannot be promoted.
    """
    alone = Routing(rollout.model, champion=now.champion, previous=now.previous)
    if rollout.state == "rolled back":
        bad = now.previous is not None and now.previous.version == rollout.version
        return replace(alone, previous=None) if bad else alone
    if now.champion is None and rollout.champion not in (0, rollout.version):
        raise RolloutError(
            f"The routing file of {rollout.model} lost its champion, version {rollout.champion}: "
            f"`roadworthy serve` deploys it again, then run again."
        )
    again = now.champion is not None and now.champion.version == rollout.version
    challenger = release or next(
        (one for one in (now.challenger, now.champion) if one and one.version == rollout.version),
        None,
    )
    if challenger is None:
        raise RolloutError(
            f"Version {rollout.version} of {rollout.model} is not staged, so it cannot be "
            f"{'promoted' if rollout.state == 'promoted' else 'given traffic'}. "
            f"Run `roadworthy run {rollout.model}` again."
        )
    if rollout.state == "promoted":
        same = now.champion is not None and _same(now.champion, challenger)
        if same:
            return alone
        before = now.previous if again else now.champion
        return Routing(rollout.model, champion=challenger, previous=before)
    return replace(
        alone,
        challenger=challenger,
        weight=rollout.weight if rollout.plan else 0,
        shadow=bool(rollout.plan),
        state="paused" if rollout.paused else _WORDS[rollout.state],
        holder=rollout.holder,
    )


def put_back(now: Routing, intent: RollbackIntent, release: Release | None) -> Routing:
    """Return the routing file after a rollback.

    Parameters
    ----------
    now
        The current routing file.
    release
        The release of the intent's champion; None where none was released before.
    """
    if release is None:
        return Routing(intent.model)
    before = now.champion
    if before is not None and before.version == release.version:
        return Routing(intent.model, champion=before, previous=now.previous)
    # After a rollback from a bad version it is no target of another one; a later one is.
    later = before is not None and release.version > before.version
    champion = replace(release, since=intent.at)
    return Routing(intent.model, champion=champion, previous=before if later else None)


def _number(release: Release | None) -> int:
    return 0 if release is None else release.version


def _check_held(worker: Any, version: int, digest: str) -> None:
    try:
        held = str(worker["versions"].get(str(version), ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise NotYetError(f"its response has no versions: {str(worker)[:100]!r}") from error
    if held != digest:
        told = f"the bundle {held[:12]}" if held else "no such version"
        raise NotYetError(f"it has {told}, not {digest[:12]}")


def _check_weight(worker: Any, rollout: Rollout) -> None:
    weights = workers.weights(worker)
    if weights.get(rollout.version) != rollout.weight:
        raise NotYetError(f"it has the weights {weights}")


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__


def _same(one: Release, other: Release) -> bool:
    return (one.version, one.digest) == (other.version, other.digest)
