"""The commands of users: sent to the driver of a rollout, or applied here if there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, lease, record, starting
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.fetching import fetched
from roadworthy.rollout.engine.lease import Lease
from roadworthy.rollout.engine.record import Command, RecordStore
from roadworthy.rollout.engine.state import Rollout, RolloutError, Strategy, Verb
from roadworthy.rollout.engine.target import Target
from roadworthy.tracking.registry import Registry, Version

_POLL_SECONDS = 0.1


def steer(
    settings: Settings,
    registry: Registry,
    target: Target,
    model: str,
    verb: Verb,
    *,
    tell: Callable[[str], None],
) -> Rollout:
    """Return the rollout once a command is applied.

    A rollout whose driver is dead is taken over; to resume it means to drive it to its end.

    Parameters
    ----------
    tell
        Called with a sentence about each wait.

    Raises
    ------
    RolloutError
        None is under way, or it cannot be continued.
    """
    finalising.catch_up(settings, registry, target, model)
    now = current(target.records, model)
    if lease.is_alive(settings, now):
        at = datetime.now(UTC).isoformat(timespec="seconds")
        command = Command(verb, now.version, settings.actor, at)
        record.change(target.records, model, lambda found: replace(found, command=command))
        tell(f"Sent the command to {now.owner}, which drives the rollout; waiting for it.")
        now = _wait(settings, target.records, now, verb)
        if _is_done(now, verb):
            return now
        tell(f"{now.owner} is dead: this command takes the rollout over.")
    owner = f"`roadworthy rollout {verb}` of {settings.actor}"
    held = lease.take_over(settings, target.records, now, owner)
    return _apply(held, target, registry, verb)


def start(
    settings: Settings,
    registry: Registry,
    target: Target,
    model: str,
    number: int,
    *,
    strategy: Strategy,
) -> Rollout:
    """Roll out a version of the registry, and return the rollout at its end.

    Raises
    ------
    RolloutError
        It is deployed already, the gate refused it, another rollout is under way, or it cannot be
        staged.
    """
    version = registry.version(model, number)
    starting.refuse_failed(version)
    if "champion" in version.aliases and target.records.read(model).champion in (0, number):
        raise RolloutError(f"Version {number} of {model} answers already: there is nothing to do.")
    owner = f"`roadworthy rollout start` of {settings.actor}"
    why = f"rolled out by hand by {settings.actor}"
    held = starting.start(
        settings, registry, target, version, strategy=strategy, owner=owner, why=why
    )
    registry.set_alias(version, "challenger")
    return _drive(held, target, registry, version)


def current(records: RecordStore, model: str) -> Rollout:
    """Return the rollout that is under way.

    Raises
    ------
    RolloutError
        There is none.
    """
    found = records.read(model).rollout
    if found is None or found.ended:
        last = "" if found is None else f" The last one: {found}."
        raise RolloutError(
            f"No rollout of {model} is under way.{last} `roadworthy run {model}` or `roadworthy "
            f"rollout start {model}:N` begins one."
        )
    return found


def _wait(settings: Settings, records: RecordStore, first: Rollout, verb: Verb) -> Rollout:
    """Return the rollout when the command is applied, or its owner is dead."""
    while True:
        now = records.read(first.model).rollout or first
        other = (now.version, now.started) != (first.version, first.started)
        if other or _is_done(now, verb) or not lease.is_alive(settings, now):
            return now
        time.sleep(_POLL_SECONDS)


def _is_done(now: Rollout, verb: Verb) -> bool:
    if now.ended:
        return now.settled
    if verb in ("pause", "resume"):
        return now.paused == (verb == "pause")
    return False


def _apply(held: Lease, target: Target, registry: Registry, verb: Verb) -> Rollout:
    """Apply a command as the driver of the rollout."""
    actor = held.settings.actor
    if held.rollout.ended:
        return finalising.settle(held, target, registry)
    if verb == "abort":
        return finalising.roll_back(held, target, registry, f"aborted by {actor}")
    version = registry.version(held.rollout.model, held.rollout.version)
    if verb == "pause":
        held.put(replace(held.rollout, paused=True))
        if held.rollout.state != "staged":
            target.shift(held.rollout)
        return held.rollout
    # The driver may have died after a command to promote, which still holds.
    by_hand = actor if verb == "promote" else held.rollout.by_hand
    held.put(replace(held.rollout, paused=False, by_hand=by_hand))
    return _drive(held, target, registry, version)


def _drive(held: Lease, target: Target, registry: Registry, version: Version) -> Rollout:
    """Drive a rollout to its end."""
    digest = version.tags.get("digest", "")
    with fetched(held.settings, version.model, version.number, digest) as released:
        driver = Driver(held, target, released.golden)
        try:
            driver.stage(released)
            found = driver.verify()
        finally:
            if held.rollout.state == "rolled back":
                finalising.settle(held, target, registry)
    if found.state == "rolled back":
        return found if not held.rollout.ended else held.rollout
    return finalising.promote(held, target, registry)
