"""The end of a rollout, in all places that tell of it: the road, the aliases, the version's tags.

Each step may be repeated, so what a kill left half done is finished by whoever comes next.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import lease
from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.lease import Lease, TakenError
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError
from roadworthy.rollout.engine.target import GoneError, Target
from roadworthy.tracking.registry import Registry, Version

_TRIES = 5

log = logging.getLogger(__name__)


def catch_up(settings: Settings, registry: Registry, target: Target, model: str) -> None:
    """Finish what an earlier rollout or rollback of a model has left half done."""
    record_found(settings, registry, target, model)
    rollout = lease.read(registry, model)
    if rollout is not None and rollout.ended and not rollout.settled:
        settle(Lease(settings, registry, rollout), target)


def promote(held: Lease, target: Target) -> Rollout:
    """Make a version that has passed every stage the champion, unless a person wants otherwise.

    Raises
    ------
    RolledBackError
        A person aborted it.
    RolloutError
        A stage is left.
    """
    wish = held.wish()
    if wish is not None and wish.verb == "abort":
        problem = f"aborted by {wish.by}"
        roll_back(held, target, problem)
        raise RolledBackError(
            f"Version {held.rollout.version} of {held.rollout.model} is rolled back: {problem}."
        )
    if held.rollout.state != "promoted":
        held.move("promoted", share=0, paused=False)
    return held.rollout if held.rollout.settled else settle(held, target)


def roll_back(held: Lease, target: Target, problem: str) -> Rollout:
    """Take a version off the road for good."""
    if held.rollout.state != "rolled back":
        take_off(held, target, held.rollout.back(problem))
    return held.rollout if held.rollout.settled else settle(held, target)


def take_off(held: Lease, target: Target, after: Rollout) -> None:
    """Take a version off the road, then tell the registry: a bad one waits for nothing.

    A note beside the road says what the registry is to be told, should that fail.

    Parameters
    ----------
    after
        The rollout, rolled back.

    Raises
    ------
    RolledBackError
        A person has rolled it back already.
    TakenError
        Another rollout is under way; the version is off all the same.
    RegistryError
        The registry failed; the version is off all the same.
    """
    settings, at = held.settings, datetime.now(UTC).isoformat(timespec="seconds")
    left = Note(
        after.model, after.champion, (after.version,), settings.actor, at, why=after.problem
    )
    try:
        target.roll_back(after, left)
    except GoneError as error:  # off it is: the registry is told that nobody answers
        log.error("%s", error)  # noqa: TRY400 - a sentence
        after = replace(after, problem=f"{after.problem}. {error}")
    try:
        held.put(after)
    except TakenError:
        record(settings, held.registry, target, left)
        now = lease.read(held.registry, after.model)
        if now is None or (now.version, now.started) != (after.version, after.started):
            raise
        held.rollout = now
    target.clear(left)


def settle(held: Lease, target: Target) -> Rollout:
    """Make road, aliases and tags say what an ended rollout came to."""
    rollout, registry = held.rollout, held.registry
    version = registry.version(rollout.model, rollout.version)
    if rollout.state == "promoted":
        target.promote(rollout)
        held.put(rollout)  # whoever rolled it back meanwhile has the last word
        _note_promotion(registry, version, rollout)
    else:
        try:
            target.roll_back(rollout)
        except GoneError as error:
            log.warning("%s", error)
        registry.tag(version, {"rolled_back": rollout.problem})
    registry.tag(version, {"rollout": verdict(rollout)})
    if "challenger" in version.aliases:
        registry.drop_alias(rollout.model, "challenger")
    return held.put(replace(rollout, settled=True))


def record_found(settings: Settings, registry: Registry, target: Target, model: str) -> None:
    """Finish a rollback whose note was found: whoever wrote it may have died at once.

    The road comes first, so that the registry is told nothing that is not so.

    Raises
    ------
    RolloutError
        The registry does not know what the note names, or would be left without a champion.
    """
    left = target.left(model)
    if left is None:
        return
    _check_known(registry, target, left)
    if target.redo(left):
        _tell(settings, registry, target, left)


def record(settings: Settings, registry: Registry, target: Target, left: Note) -> None:
    """Tell the registry of a rollback that the road already shows.

    Raises
    ------
    RolloutError
        The registry does not know what the note names, or would be left without a champion.
    """
    _check_known(registry, target, left)
    _tell(settings, registry, target, left)


def verdict(rollout: Rollout) -> str:
    """Return how a rollout ended as the JSON of a tag."""
    return json.dumps(rollout.verdict(), separators=(",", ":"), ensure_ascii=False)


def _check_known(registry: Registry, target: Target, left: Note) -> None:
    """Refuse a note before it is acted upon that no rollback of this registry's can have left."""
    known = {version.number: version for version in registry.versions(left.model)}
    unknown = sorted({*left.taken_off, *([left.champion] if left.champion else [])} - set(known))
    champion = next((number for number, of in known.items() if "champion" in of.aliases), 0)
    wrong = ""
    if unknown:
        wrong = f"names version {unknown[0]}, which the registry does not know"
    elif (
        not left.champion
        and champion in left.taken_off
        and target.standing(left.model).champion == champion
    ):
        wrong = f"takes off version {champion}, the champion, and leaves none"
    if wrong:
        raise RolloutError(
            f"What is still to be recorded of a rollback of {left.model} {wrong}: use the registry "
            f"that knows it, or take the note away (`kubectl annotate poddisruptionbudget "
            f"{left.model} roadworthy/note-` on a cluster, .{left.model}.note beside the road "
            f"elsewhere), and run again."
        )


def _tell(settings: Settings, registry: Registry, target: Target, left: Note) -> None:
    for _ in range(_TRIES):
        try:
            _end(settings, registry, left)
            break
        except TakenError:  # its driver wrote in the same instant; it will see the note
            continue
    for number in left.taken_off:
        version = registry.version(left.model, number)
        registry.tag(version, {"rolled_back": str(left).removeprefix("rolled back ")})
        if "challenger" in version.aliases:
            registry.drop_alias(left.model, "challenger")
    # Before the first release there is no champion to return to.
    champion = registry.version(left.model, left.champion) if left.champion else None
    if champion is not None and "champion" not in champion.aliases:
        numbers = " and ".join(map(str, left.taken_off))
        told = f"in place of version {numbers} by {left.by} at {left.at}: {left.why}"
        registry.tag(champion, {"restored": told, "rolled_back": ""})
        registry.set_alias(champion, "champion")
    target.clear(left)


def _end(settings: Settings, registry: Registry, left: Note) -> None:
    rollout = lease.read(registry, left.model)
    if rollout is None or rollout.settled or rollout.version not in left.taken_off:
        return
    version = registry.version(left.model, rollout.version)
    held = Lease(settings, registry, rollout)
    ended = held.put(rollout.overruled(str(left)))
    registry.tag(version, {"rollout": verdict(ended)})


def _note_promotion(registry: Registry, version: Version, rollout: Rollout) -> None:
    """Tell who promoted it, when and why; what is the champion already keeps its note."""
    if "champion" in version.aliases:
        return
    by_hand = f", promoted by hand by {rollout.by_hand}" if rollout.by_hand else ""
    told = {
        "promoted_by": rollout.by_hand or rollout.actor,
        "promoted_at": datetime.fromisoformat(rollout.renewed).isoformat(timespec="seconds"),
        "promoted_why": f"{rollout.why}{by_hand}",
        "rolled_back": "",
    }
    registry.tag(version, told)
    registry.set_alias(version, "champion")
