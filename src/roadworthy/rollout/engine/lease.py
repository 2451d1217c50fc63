"""The lease of a rollout. One process holds it at a time.

A write succeeds only if the record still has the rollout as its owner wrote it last. So a driver
that continues after its machine slept finds that it has lost the rollout, and gives the version no
more traffic.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from roadworthy.core import process_id
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import record, state
from roadworthy.rollout.engine.record import Command, Record, RecordStore
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError, State, Strategy

log = logging.getLogger(__name__)


class ConflictError(RolloutError):
    """Another run or command drives the rollout, or MLflow names another champion."""


@dataclass
class Lease:
    """The lease of a rollout. Get one from :func:`begin`, :func:`take_over` or :func:`hold`.

    Attributes
    ----------
    rollout
        The rollout as it was written last.
    """

    settings: Settings
    records: RecordStore
    rollout: Rollout

    def move(self, to: State, **changes: Any) -> Rollout:
        """Write that the rollout is in another state, before acting on it.

        Raises
        ------
        RolloutError
            That state may not follow, or as :meth:`put`.
        """
        return self.put(self.rollout.moved(to, **changes))

    def put(self, after: Rollout, *, champion: int = 0) -> Rollout:
        """Write the rollout.

        Parameters
        ----------
        champion
            The version that it made the champion; 0 leaves the champion as it was.

        Raises
        ------
        RolledBackError
            A user rolled the version back.
        ConflictError
            Another run or command took the rollout over.
        """
        before, after = self.rollout, replace(after, renewed=_now())

        def written(now: Record) -> Record:
            if now.rollout == after:  # it was written, and only the response was lost
                return now
            if now.rollout != before:
                raise _lost(before, now.rollout)
            return replace(now, rollout=after, champion=champion or now.champion)

        record.change(self.records, before.model, written)
        self.rollout = after
        if str(after) != str(before):
            log.info("Rollout: %s", after)
        return after

    def renew(self) -> None:
        """Renew the lease, if it was not renewed recently."""
        now = datetime.now(UTC)
        if not state.is_fresh(self.rollout, now, self.settings.lease_seconds / 5):
            self.put(self.rollout)

    def command(self) -> Command | None:
        """Return the command of a user for this rollout, and remove it from the record."""
        model = self.rollout.model
        found = self.records.read(model).command
        if found is None:
            return None
        record.change(
            self.records,
            model,
            lambda now: replace(now, command=None) if now.command == found else now,
        )
        return found if found.version == self.rollout.version else None


def is_alive(settings: Settings, rollout: Rollout) -> bool:
    """Return whether the owner of a rollout is alive.

    A process of this machine is checked directly; for another one its last renewal counts.
    """
    lives = process_id.lives(rollout.holder)
    if lives is not None:
        return lives
    return state.is_fresh(rollout, datetime.now(UTC), settings.lease_seconds)


def begin(
    settings: Settings,
    records: RecordStore,
    model: str,
    version: int,
    *,
    champion: int,
    strategy: Strategy,
    owner: str,
    why: str,
) -> Lease:
    """Return the lease of a new rollout. The rollout before must have ended.

    Raises
    ------
    ConflictError
        Another one is under way.
    RolledBackError
        A rollback is pending.
    """
    at = _now()
    rollout = Rollout(
        *(model, version, champion, strategy, owner, settings.holder, at, at),
        actor=settings.actor,
        why=why,
    )

    def begun(now: Record) -> Record:
        if now.rollout == rollout:  # it was written, and only the response was lost
            return now
        now.check_undisturbed()
        if now.rollout is not None and not now.rollout.ended:
            raise refusal(now.rollout)
        return replace(now, rollout=rollout, command=None, champion=champion or now.champion)

    record.change(records, model, begun)
    log.info("Rollout: %s", rollout)
    return Lease(settings, records, rollout)


def take_over(settings: Settings, records: RecordStore, rollout: Rollout, owner: str) -> Lease:
    """Return the lease of a rollout whose owner is dead, or is the same.

    Raises
    ------
    ConflictError
        Another process was faster.
    """
    held = Lease(settings, records, rollout)
    held.put(replace(rollout, owner=owner, holder=settings.holder))
    return held


def hold(settings: Settings, records: RecordStore, model: str, version: int, owner: str) -> Lease:
    """Return the lease of a rollout that an earlier step of the same owner began.

    Raises
    ------
    ConflictError
        It has another owner or another version.
    """
    found = records.read(model).rollout
    if found is None:
        raise ConflictError(f"No rollout of {model} was begun. Run `roadworthy run {model}` again.")
    if (found.version, found.owner) != (version, owner):
        raise ConflictError(
            f"The rollout of version {version} of {model} was taken over: {found}, by "
            f"{found.owner}. `roadworthy rollout status {model}` shows its state."
        )
    return Lease(settings, records, found)


def refusal(first: Rollout) -> ConflictError:
    """Return the error of a second rollout, which names the first."""
    host, _, rest = first.holder.partition(":")
    return ConflictError(
        f"Version {first.version} of {first.model} is being rolled out already, by {first.owner} "
        f"on {host} (process {rest.partition(':')[0]}) since {first.started}. Wait for it, or "
        f"abort it with `roadworthy rollout abort {first.model}`."
    )


def _lost(before: Rollout, now: Rollout | None) -> RolloutError:
    """Return why a rollout cannot be written."""
    same = now is not None and (now.version, now.started) == (before.version, before.started)
    if now is not None and same and now.state == "rolled back":
        return RolledBackError(now.problem)
    told = "has no record any more" if now is None else f"was taken over: {now}, by {now.owner}"
    return ConflictError(
        f"The rollout of version {before.version} of {before.model} {told}. "
        f"`roadworthy rollout status {before.model}` shows its state."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
