"""The local target: the model server on this machine, which watches the roads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import tenacity

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.http import connect
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import analysis, intent, workers
from roadworthy.rollout.engine.analysis import Counts
from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import (
    RefusedError,
    RolledBackError,
    Rollout,
    RolloutError,
    Strategy,
)
from roadworthy.rollout.engine.target import Standing, nothing
from roadworthy.rollout.engine.verification import Verification, verify
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.local import server
from roadworthy.rollout.local.placement import place, placed
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Road, RoadError

_POLL_SECONDS = 0.05
_WORDS = {"staged": "staged", "ready": "verifying", "verified": "verifying", "shifting": "shifting"}
"""What a state of a rollout is called on the road."""


log = logging.getLogger(__name__)


class LocalTarget:
    """The model server on this machine.

    Parameters
    ----------
    settings
        Where the road, the bundles and the server are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, strategy: Strategy) -> None:
        """Refuse what one server cannot do."""
        if strategy == "rolling":
            raise RolloutError(
                "One server on this machine has no replicas to replace one by one, so `rolling` "
                "means nothing here: use `--strategy canary` or `--strategy blue-green`."
            )

    def stage(
        self, rollout: Rollout, bundle: Bundle, meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Place the bundle, put it on the road, and wait until the server holds it."""
        self._write(rollout, place(self._settings, bundle, rollout.version))
        self._wait(
            rollout,
            lambda worker: _check_held(worker, rollout.version, bundle.digest),
            meanwhile,
            what=f"Version {rollout.version} of {rollout.model} did not come up",
        )

    def shift(self, rollout: Rollout, meanwhile: Callable[[], None] = nothing) -> None:
        """Write the share on the road, and wait until the server tells it."""
        self._write(rollout)
        if rollout.plan:
            self._wait(
                rollout,
                lambda worker: _check_share(worker, rollout),
                meanwhile,
                what=f"Version {rollout.version} of {rollout.model} did not get {rollout.share} %",
            )

    def verify(self, rollout: Rollout, golden: Golden) -> Verification:
        """Ask the server the golden requests."""
        settings = self._settings
        return verify(
            settings.serving_url, rollout.model, rollout.version, golden, token=settings.token
        )

    def observe(self, rollout: Rollout) -> Counts | None:
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
        """Write it on the road as the champion."""
        self._write(rollout)

    def roll_back(self, rollout: Rollout, left: Note | None = None) -> None:
        """Write the road without it, and beside it what is to be recorded of that."""
        self._write(rollout, left=left)

    def left(self, model: str) -> Note | None:
        """Read the note beside the road."""
        return intent.read(self._settings, model)

    def redo(self, told: Note) -> bool:
        """Do nothing: road and note are written together."""
        del told
        return True

    def clear(self, told: Note) -> None:
        """Take the note beside the road away."""
        intent.clear(self._settings, told)

    def standing(self, model: str) -> Standing:
        """Read the road, and ask the server that watches it what it makes of it."""
        url = server.address(self._settings)
        found = Standing(model, f"the server at {url}" if url else "no server", url)
        try:
            now = routes.read(self._settings.road, model)
        except RoadError as error:
            return replace(found, problem=str(error))
        found = replace(
            found,
            champion=0 if now.champion is None else now.champion.version,
            challenger=0 if now.challenger is None else now.challenger.version,
            share=now.share,
        )
        if now == Road(model):
            told = f"{model} is not on the road: `roadworthy run {model}` makes a first version."
            return replace(found, problem=told)
        if not url:
            told = f"No server serves {self._settings.home}: start one with `roadworthy serve`."
            return replace(found, problem=told)
        problem = self._difference(now, url)
        return replace(found, ready=bool(found.champion) and not problem, problem=problem)

    def _difference(self, now: Road, url: str) -> str:
        """Return in what the server differs from the road, in a sentence; nothing if in nothing."""
        expected = [one for one in (now.champion, now.challenger) if one is not None]
        try:
            with connect(url, self._settings.token) as client:
                for worker in workers.ask(client, now.model):
                    for one in expected:
                        _check_held(worker, one.version, one.digest)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{url} gives no answer ({_cause(error)}). Start it with `roadworthy serve`."
        except NotYetError as error:
            return f"{url} is not what its road says: {error}. Look at the server's log."
        return ""

    def _write(
        self, rollout: Rollout, release: Release | None = None, left: Note | None = None
    ) -> None:
        directory = self._settings.road
        with intent.changing(self._settings, rollout.model):
            self._check_undisturbed(rollout)
            now, is_lost = self._road(rollout)
            after = projected(now, rollout, release)
            if left is not None:
                intent.write(self._settings, left)
            if after != now or is_lost:
                routes.write(directory, after)

    def _road(self, rollout: Rollout) -> tuple[Road, bool]:
        """Return the road, and whether it was lost: then it has the champion of the registry."""
        model, settings = rollout.model, self._settings
        try:
            now = routes.read(settings.road, model)
        except RoadError:
            now = Road(model)
        if now.champion is not None or rollout.champion in (0, rollout.version):
            return now, False
        # here alone: there is much to import, and no road is lost but by accident
        from roadworthy.tracking.registry import Registry

        log.warning("The road of %s was lost: its champion is fetched again.", model)
        try:
            version = Registry.of(settings).version(model, rollout.champion)
            return replace(now, champion=placed(settings, version)), True
        except RoadworthyError as error:
            if rollout.state != "rolled back":
                raise
            # the rollout is to end all the same; `roadworthy serve` tries again
            log.error("The champion of %s is not put on the road: %s", model, error)  # noqa: TRY400
            return now, False

    def _check_undisturbed(self, rollout: Rollout) -> None:
        left = intent.read(self._settings, rollout.model)
        if left is not None:
            raise RolledBackError(f"{left}")

    def _wait(
        self,
        rollout: Rollout,
        check: Callable[[Any], None],
        meanwhile: Callable[[], None],
        *,
        what: str,
    ) -> None:
        """Ask until every process that answers at the server's address is as it must be."""
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
                f"that watches {settings.road}?"
            ) from error

    def _refusal(self, rollout: Rollout) -> str:
        """Return why the server refuses the version; nothing if it does not, or tells nothing."""
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


def stage(settings: Settings, staged: Bundle, version: int) -> None:
    """Put a version on the road that answers only who asks for it; wait until the server holds it.

    What the road says of a version that is on it already, such as its share, stays.

    Raises
    ------
    RolloutError
        It was not loaded within ``settings.ready_seconds``; it is off the road again.
    """
    model = staged.manifest.model
    now = routes.read(settings.road, model)
    champion = 0 if now.champion is None else now.champion.version
    again = now.challenger is not None and now.challenger.version == version
    rollout = Rollout(
        *(model, version, champion, "canary", "", settings.holder, "", ""),
        share=now.share if again else 0,
    )
    target = LocalTarget(settings)
    try:
        target.stage(rollout, staged)
    except RolledBackError:
        raise
    except RolloutError:
        target.roll_back(replace(rollout, state="rolled back"))
        raise


def projected(now: Road, rollout: Rollout, release: Release | None = None) -> Road:
    """Return the road that a rollout stands for.

    Parameters
    ----------
    now
        The road as it is.
    release
        The version's release, where it is not on the road yet.

    Raises
    ------
    RolloutError
        The version is not on the road, so it can have no share and cannot be promoted.
    """
    alone = Road(rollout.model, champion=now.champion, previous=now.previous)
    if rollout.state == "rolled back":
        bad = now.previous is not None and now.previous.version == rollout.version
        return replace(alone, previous=None) if bad else alone
    if now.champion is None and rollout.champion not in (0, rollout.version):
        raise RolloutError(
            f"The road of {rollout.model} has lost its champion, version {rollout.champion}: "
            f"`roadworthy serve` puts it on the road again, then run again."
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
        return Road(rollout.model, champion=challenger, previous=before)
    return replace(
        alone,
        challenger=challenger,
        share=rollout.share if rollout.plan else 0,
        shadow=bool(rollout.plan),
        state="paused" if rollout.paused else _WORDS[rollout.state],
        holder=rollout.holder,
    )


def _check_held(worker: Any, version: int, digest: str) -> None:
    try:
        held = str(worker["versions"].get(str(version), ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise NotYetError(f"it tells no versions: {str(worker)[:100]!r}") from error
    if held != digest:
        told = f"the bundle {held[:12]}" if held else "no such version"
        raise NotYetError(f"it holds {told}, not {digest[:12]}")


def _check_share(worker: Any, rollout: Rollout) -> None:
    shares = workers.shares(worker)
    if shares.get(rollout.version) != rollout.share:
        raise NotYetError(f"it tells the shares {shares}")


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__


def _same(one: Release, other: Release) -> bool:
    return (one.version, one.digest) == (other.version, other.digest)
