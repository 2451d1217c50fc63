"""Back to an earlier version, at once: the road first, the registry after it.

MLflow takes longer to import than a customer should wait for a good answer, and the road remembers
which version the champion followed. On a cluster, where pods have to start, the registry is asked
first: see :mod:`roadworthy.rollout.actions.cluster_rollback`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
from pydantic import SecretStr

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import BundleError
from roadworthy.core.http import connect
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.rollback_choice import former, goal, taken_off
from roadworthy.rollout.engine import intent, workers
from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.local import server
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Road

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class UndoneHere:
    """A rollback that the road of this machine shows."""

    settings: Settings
    note: Note

    def wait(self) -> str:
        """Return when every process of the server answers with the version."""
        settings = self.settings
        url = server.address(settings)
        end = time.monotonic() + settings.ready_seconds
        told: set[int] = set()
        while url and time.monotonic() < end:
            told = _answering(url, self.note.model, settings.token)
            if told == {self.note.champion}:
                return url
            time.sleep(_POLL_SECONDS)
        if not url:
            return ""
        instead = " and ".join(map(str, sorted(told))) or "nothing"
        raise RolloutError(
            f"Version {self.note.champion} of {self.note.model} is on the road, but {url} still "
            f"answers with {instead} after {settings.ready_seconds:g} s. Look at the server's log."
        )

    def record(self) -> None:
        """Tell the registry."""
        from roadworthy.rollout.engine import finalising
        from roadworthy.rollout.local.local_target import LocalTarget
        from roadworthy.tracking.registry import Registry

        settings = self.settings
        finalising.record(settings, Registry.of(settings), LocalTarget(settings), self.note)


def roll_back(settings: Settings, model: str, *, to: int, why: str) -> UndoneHere:
    """Put an earlier version on the road of this machine, as :func:`rollback.roll_back` says."""
    _record_earlier(settings, model)
    chosen = _chosen(settings, routes.read(settings.road, model), to)
    with intent.changing(settings, model):
        now = routes.read(settings.road, model)
        again = now.champion is not None and now.champion.version == chosen.version
        at = datetime.now(UTC).isoformat(timespec="seconds")
        off = taken_off(model, _number(now.champion), _number(now.challenger), chosen.version)
        left = Note(model, chosen.version, off, settings.actor, at, why)
        intent.write(settings, left)
        champion = now.champion if again else replace(chosen, since=at)
        # Back from a bad version there is no way forth to it; to a later one there is a way back.
        later = now.champion is not None and chosen.version > now.champion.version
        previous = now.previous if again else now.champion if later else None
        routes.write(settings.road, Road(model, champion=champion, previous=previous))
    return UndoneHere(settings, left)


def _record_earlier(settings: Settings, model: str) -> None:
    """Record a rollback that a kill kept from being recorded."""
    left = intent.read(settings, model)
    if left is not None:
        UndoneHere(settings, left).record()


def _chosen(settings: Settings, now: Road, to: int) -> Release:
    """Return the release to go back to, its bundle whole and in its place."""
    number = goal(now.model, _number(now.champion), _number(now.challenger), to)
    if now.challenger is not None and now.champion is not None and number == now.champion.version:
        return now.champion  # which answers: its bundle need not be read
    known = [one for one in (now.champion, now.previous) if one is not None]
    named = next((one for one in known if one.version == number), None)
    found = named if number else now.previous
    if found is not None and _is_whole(found):
        return found
    return _fetched(settings, now, number)


def _number(release: Release | None) -> int:
    return 0 if release is None else release.version


def _is_whole(release: Release) -> bool:
    try:
        return bool(bundle.read(Path(release.bundle), release.digest))
    except BundleError:
        return False


def _fetched(settings: Settings, now: Road, to: int) -> Release:
    """Return a release that the road does not remember, fetched if it is not here."""
    from roadworthy.rollout.actions.steering import fetched
    from roadworthy.rollout.local.placement import place
    from roadworthy.tracking.registry import Registry

    registry = Registry.of(settings)
    champion = _number(now.champion)
    version = registry.version(now.model, to) if to else former(registry, now.model, champion)
    with fetched(settings, version) as released:
        return place(settings, released, version.number)


def _answering(url: str, model: str, token: SecretStr) -> set[int]:
    """Return the versions that answer who asks for none, whichever process is asked."""
    try:
        with connect(url, token) as client:
            told = workers.ask(client, model)
            parts = [part for worker in told for part in workers.shares(worker).items()]
            return {version for version, share in parts if share}
    except (httpx.HTTPError, httpx.InvalidURL, NotYetError):
        return set()
