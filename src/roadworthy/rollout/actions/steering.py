"""What a person wants of a rollout: told to whoever drives it, or done here if nobody does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Bundle, BundleError
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, lease, starting
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.lease import Lease
from roadworthy.rollout.engine.state import Rollout, RolloutError, Strategy, Verb, Wish
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
    """Return how the rollout stands once it is as a person wants it.

    A rollout that nobody drives any more is taken over: to resume it is to drive it to its end.

    Parameters
    ----------
    tell
        Called with what is being waited for.

    Raises
    ------
    RolloutError
        There is none under way, or it cannot be gone on with.
    """
    finalising.catch_up(settings, registry, target, model)
    now = current(registry, model)
    if lease.is_alive(settings, now):
        by = settings.actor
        wish = Wish(verb, now.version, by, datetime.now(UTC).isoformat(timespec="seconds"))
        registry.set_model_tag(model, lease.WISH, wish.encode())
        tell(f"Told {now.owner}, which drives the rollout; waiting until it has done so.")
        now = _wait(settings, registry, now, verb)
        if _is_done(now, verb):
            return now
        tell(f"{now.owner} is gone: this command takes the rollout over.")
    owner = f"`roadworthy rollout {verb}` of {settings.actor}"
    held = lease.take_over(settings, registry, now, owner)
    return _act(held, target, verb)


def start(
    settings: Settings,
    registry: Registry,
    target: Target,
    model: str,
    number: int,
    *,
    strategy: Strategy,
) -> Rollout:
    """Roll out a version of the registry, and return how that ended.

    Raises
    ------
    RolloutError
        It answers already, another rollout is under way, or it cannot be staged.
    """
    version = registry.version(model, number)
    if "champion" in version.aliases:
        raise RolloutError(f"Version {number} of {model} answers already: there is nothing to do.")
    owner = f"`roadworthy rollout start` of {settings.actor}"
    why = f"rolled out by hand by {settings.actor}"
    held = starting.begin(
        settings, registry, target, version, strategy=strategy, owner=owner, why=why
    )
    registry.set_alias(version, "challenger")
    return _drive(held, target, version)


def current(registry: Registry, model: str) -> Rollout:
    """Return the rollout that is under way.

    Raises
    ------
    RolloutError
        There is none.
    """
    found = lease.read(registry, model)
    if found is None or found.ended:
        last = "" if found is None else f" The last one: {found}."
        raise RolloutError(
            f"No rollout of {model} is under way.{last} `roadworthy run {model}` or `roadworthy "
            f"rollout start {model}:N` begins one."
        )
    return found


@contextmanager
def fetched(settings: Settings, version: Version) -> Iterator[Bundle]:
    """Give the bundle of a version: the copy that is placed here, or that of its release.

    Raises
    ------
    RoadworthyError
        It is neither here nor in the remotes.
    """
    digest = version.tags.get("digest", "")
    try:
        placed = bundle.read(settings.bundles / digest, digest)
    except BundleError:
        with releases.fetch(settings, version.model, version.git_tag) as released:
            yield released
    else:
        yield placed


def _wait(settings: Settings, registry: Registry, first: Rollout, verb: Verb) -> Rollout:
    """Return how the rollout stands when the wish is done, or its owner is gone."""
    while True:
        now = lease.read(registry, first.model) or first
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


def _act(held: Lease, target: Target, verb: Verb) -> Rollout:
    """Do what is wanted, as the one who drives the rollout now."""
    actor = held.settings.actor
    if held.rollout.ended:
        return finalising.settle(held, target)
    if verb == "abort":
        return finalising.roll_back(held, target, f"aborted by {actor}")
    version = held.registry.version(held.rollout.model, held.rollout.version)
    if verb == "pause":
        held.put(replace(held.rollout, paused=True))
        if held.rollout.state != "staged":
            target.shift(held.rollout)
        return held.rollout
    # Whoever was told to promote it may have died on the way: that is still what is wanted.
    by_hand = actor if verb == "promote" else held.rollout.by_hand
    held.put(replace(held.rollout, paused=False, by_hand=by_hand))
    return _drive(held, target, version)


def _drive(held: Lease, target: Target, version: Version) -> Rollout:
    """Take a rollout to its end."""
    with fetched(held.settings, version) as released:
        driver = Driver(held, target, released.golden)
        try:
            driver.stage(released)
            found = driver.verify()
        finally:
            if held.rollout.state == "rolled back":
                finalising.settle(held, target)
    if found.state == "rolled back":
        return found if not held.rollout.ended else held.rollout
    return finalising.promote(held, target)
