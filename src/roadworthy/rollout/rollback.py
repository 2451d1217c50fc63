"""Back to an earlier version, at once: the road first, the registry after it.

MLflow takes longer to import than a customer should wait for a good answer, and the road remembers
which version the champion followed. On a cluster, where pods have to start, the registry is asked
first: see :mod:`roadworthy.rollout.cluster_rollback`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import httpx
from pydantic import SecretStr

from roadworthy import bundle, road
from roadworthy.bundle import BundleError
from roadworthy.road import Release, Road
from roadworthy.rollout import note, server, workers
from roadworthy.rollout.connection import connect
from roadworthy.rollout.note import Note
from roadworthy.rollout.state import RolloutError
from roadworthy.rollout.workers import NotYetError
from roadworthy.settings import Settings

if TYPE_CHECKING:
    from roadworthy.registry import Registry, Version

_POLL_SECONDS = 0.02


class Undone(Protocol):
    """A rollback that shows where the model is served, and of which the registry is to be told."""

    @property
    def note(self) -> Note:
        """What is to be recorded."""
        ...

    def wait(self) -> str:
        """Return the address where the version answers, when it does; nothing if none serves.

        Raises
        ------
        RolloutError
            It does not within ``settings.ready_seconds``.
        """
        ...

    def record(self) -> None:
        """Tell the registry."""
        ...


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
        from roadworthy.registry import Registry
        from roadworthy.rollout import closing
        from roadworthy.rollout.local import LocalTarget

        settings = self.settings
        closing.record(settings, Registry.of(settings), LocalTarget(settings), self.note)


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
    if settings.target != "local":
        from roadworthy.rollout import cluster_rollback

        return cluster_rollback.roll_back(settings, model, to=to, why=why)
    return _roll_back_here(settings, model, to, why)


def goal(model: str, champion: int, challenger: int, to: int) -> int:
    """Return the version to go back to; 0 if it is whichever was the champion before this one.

    Parameters
    ----------
    champion, challenger
        The versions that are served; 0 where there is none.
    to
        The version that is asked for; 0 if none is.

    Raises
    ------
    RolloutError
        There is no way back to it.
    """
    on_trial = challenger not in (0, champion)
    if not champion:
        raise RolloutError(
            f"{model} has no champion on the road, so there is nothing to roll back. "
            f"`roadworthy run {model}` makes a first one."
        )
    if on_trial and to == challenger:
        raise RolloutError(
            f"Version {to} of {model} is being rolled out: `roadworthy rollout promote {model}` "
            f"puts it on the road at once."
        )
    return champion if on_trial and not to else to


def taken_off(model: str, champion: int, challenger: int, chosen: int) -> tuple[int, ...]:
    """Return the versions that go when one alone is to answer.

    Raises
    ------
    RolloutError
        None does.
    """
    off = tuple(one for one in dict.fromkeys((champion, challenger)) if one not in (0, chosen))
    if not off:
        raise RolloutError(
            f"Version {chosen} of {model} answers already, and no other is on the road: there is "
            f"nothing to roll back."
        )
    return off


def former(registry: Registry, model: str, champion: int) -> Version:
    """Return the version that was promoted last, before the champion.

    Raises
    ------
    RolloutError
        There is none that was not rolled back.
    """
    promoted = [
        version
        for version in registry.versions(model)
        if version.tags.get("promoted_at")
        and not version.tags.get("rolled_back")
        and version.number != champion
    ]
    if not promoted:
        raise RolloutError(
            f"No other version of {model} was the champion before version {champion}. Name one "
            f"with --to; `roadworthy models` lists them."
        )
    return max(promoted, key=lambda version: version.tags["promoted_at"])


def _roll_back_here(settings: Settings, model: str, to: int, why: str) -> UndoneHere:
    _record_earlier(settings, model)
    chosen = _chosen(settings, road.read(settings.road, model), to)
    with note.changing(settings, model):
        now = road.read(settings.road, model)
        again = now.champion is not None and now.champion.version == chosen.version
        at = datetime.now(UTC).isoformat(timespec="seconds")
        off = taken_off(model, _number(now.champion), _number(now.challenger), chosen.version)
        left = Note(model, chosen.version, off, settings.actor, at, why)
        note.write(settings, left)
        champion = now.champion if again else replace(chosen, since=at)
        # Back from a bad version there is no way forth to it; to a later one there is a way back.
        later = now.champion is not None and chosen.version > now.champion.version
        previous = now.previous if again else now.champion if later else None
        road.write(settings.road, Road(model, champion=champion, previous=previous))
    return UndoneHere(settings, left)


def _record_earlier(settings: Settings, model: str) -> None:
    """Record a rollback that a kill kept from being recorded."""
    left = note.read(settings, model)
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
    from roadworthy.registry import Registry
    from roadworthy.rollout.local import place
    from roadworthy.rollout.steering import fetched

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
