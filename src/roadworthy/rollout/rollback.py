"""Back to an earlier version, at once: the road first, the registry after it.

MLflow takes longer to import than a customer should wait for a good answer, and the road remembers
which version the champion followed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from roadworthy import bundle, road
from roadworthy.bundle import BundleError
from roadworthy.road import Release, Road
from roadworthy.rollout import note, workers
from roadworthy.rollout.connection import connect
from roadworthy.rollout.note import Note
from roadworthy.rollout.state import RolloutError
from roadworthy.rollout.workers import NotYetError
from roadworthy.settings import Settings

if TYPE_CHECKING:
    from roadworthy.registry import Registry, Version

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Undone:
    """A rollback that the road shows and the registry does not yet.

    Parameters
    ----------
    note
        What is to be recorded.
    """

    note: Note

    def wait(self, settings: Settings, url: str) -> None:
        """Return when every process of the server at an address answers with the version.

        Raises
        ------
        RolloutError
            It does not within ``settings.ready_seconds``.
        """
        end = time.monotonic() + settings.ready_seconds
        told: set[int] = set()
        while time.monotonic() < end:
            told = _answering(url, self.note.model, settings.token)
            if told == {self.note.champion}:
                return
            time.sleep(_POLL_SECONDS)
        instead = " and ".join(map(str, sorted(told))) or "nothing"
        raise RolloutError(
            f"Version {self.note.champion} of {self.note.model} is on the road, but {url} still "
            f"answers with {instead} after {settings.ready_seconds:g} s. Look at the server's log."
        )

    def record(self, settings: Settings) -> None:
        """Tell the registry."""
        from roadworthy.registry import Registry
        from roadworthy.rollout import closing

        closing.record(settings, Registry.of(settings), self.note)


def roll_back(settings: Settings, model: str, *, to: int = 0, why: str) -> Undone:
    """Put an earlier version on the road.

    Parameters
    ----------
    to
        The version. 0 means: during a rollout, the champion alone; else the one before it.
    why
        The reason, for the tags of the version that is taken off.

    Raises
    ------
    RolloutError
        There is no such version to go back to.
    """
    _record_earlier(settings, model)
    chosen = _chosen(settings, road.read(settings.road, model), to)
    with note.changing(settings, model):
        now = road.read(settings.road, model)
        again = now.champion is not None and now.champion.version == chosen.version
        at = datetime.now(UTC).isoformat(timespec="seconds")
        off = tuple(
            one.version
            for one in (now.champion, now.challenger)
            if one is not None and one.version != chosen.version
        )
        if not off:
            raise RolloutError(
                f"Version {chosen.version} of {model} answers already, and no other is on the "
                f"road: there is nothing to roll back."
            )
        left = Note(model, chosen.version, off, settings.actor, at, why)
        note.write(settings, left)
        champion = now.champion if again else replace(chosen, since=at)
        # Back from a bad version there is no way forth to it; to a later one there is a way back.
        later = now.champion is not None and chosen.version > now.champion.version
        previous = now.previous if again else now.champion if later else None
        road.write(settings.road, Road(model, champion=champion, previous=previous))
    return Undone(left)


def _record_earlier(settings: Settings, model: str) -> None:
    """Record a rollback that a kill kept from being recorded."""
    left = note.read(settings, model)
    if left is not None:
        Undone(left).record(settings)


def _chosen(settings: Settings, now: Road, to: int) -> Release:
    """Return the release to go back to, its bundle whole and in its place."""
    on_trial = now.challenger is not None and now.challenger != now.champion
    if now.champion is None:
        raise RolloutError(
            f"{now.model} has no champion on the road, so there is nothing to roll back. "
            f"`roadworthy run {now.model}` makes a first one."
        )
    if on_trial and now.challenger is not None and to == now.challenger.version:
        raise RolloutError(
            f"Version {to} of {now.model} is being rolled out: `roadworthy rollout promote "
            f"{now.model}` puts it on the road at once."
        )
    if to in (0, now.champion.version) and on_trial:
        return now.champion
    known = [one for one in (now.champion, now.previous) if one is not None]
    found = now.previous if not to else next((one for one in known if one.version == to), None)
    if found is not None and _is_whole(found):
        return found
    return _fetched(settings, now, to)


def _is_whole(release: Release) -> bool:
    try:
        return bool(bundle.read(Path(release.bundle), release.digest))
    except BundleError:
        return False


def _fetched(settings: Settings, now: Road, to: int) -> Release:
    """Return a release that the road does not remember, fetched if it is not here."""
    from roadworthy.registry import Registry
    from roadworthy.rollout.local import place
    from roadworthy.rollout.steering import fetched

    registry = Registry.of(settings)
    version = registry.version(now.model, to) if to else _former(registry, now)
    with fetched(settings, version) as released:
        return place(settings, released, version.number)


def _former(registry: Registry, now: Road) -> Version:
    """Return the version that was promoted last, before the champion."""
    champion = 0 if now.champion is None else now.champion.version
    promoted = [
        version
        for version in registry.versions(now.model)
        if version.tags.get("promoted_at")
        and not version.tags.get("rolled_back")
        and version.number != champion
    ]
    if not promoted:
        raise RolloutError(
            f"No other version of {now.model} was the champion before version {champion}. Name one "
            f"with --to; `roadworthy models` lists them."
        )
    return max(promoted, key=lambda version: version.tags["promoted_at"])


def _answering(url: str, model: str, token: SecretStr) -> set[int]:
    """Return the versions that answer who asks for none, whichever process is asked."""
    try:
        with connect(url, token) as client:
            told = workers.ask(client, model)
            parts = [part for worker in told for part in workers.shares(worker).items()]
            return {version for version, share in parts if share}
    except (httpx.HTTPError, httpx.InvalidURL, NotYetError):
        return set()
