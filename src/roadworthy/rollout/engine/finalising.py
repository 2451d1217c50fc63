"""Finalise a rollout everywhere: the traffic, the aliases and the version's tags.

Each step may be repeated, so the next run or command finishes what a kill interrupted.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import lease, record
from roadworthy.rollout.engine.lease import ConflictError, Lease
from roadworthy.rollout.engine.record import Record, RecordStore, RollbackIntent
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError
from roadworthy.rollout.engine.target import NotDeployedError, Target
from roadworthy.tracking import ledger

if TYPE_CHECKING:
    # MLflow takes seconds to import, and staging a version needs it only where it fails
    from roadworthy.tracking.registry import Registry, Version

_FORMER_TAG = "rollout"
"""The tag of a model in MLflow in which the release before kept its rollout."""

log = logging.getLogger(__name__)


def catch_up(settings: Settings, registry: Registry, target: Target, model: str) -> None:
    """Finish an interrupted rollout or rollback of a model.

    Raises
    ------
    ConflictError
        A rollout of the release before is under way.
    RolloutError
        A pending rollback names a version that is not in the registry.
    """
    carry_over(settings, registry, target.records, model)
    intent = target.records.read(model).intent
    if intent is not None:
        _check_known(registry, target, intent)
        if target.redo(intent):
            _record(registry, target, intent)
    rollout = target.records.read(model).rollout
    if rollout is not None and rollout.ended and not rollout.settled:
        settle(Lease(settings, target.records, rollout), target, registry)


def carry_over(settings: Settings, registry: Registry, records: RecordStore, model: str) -> None:
    """Move a rollout of the release before from its tag in MLflow into the record.

    Raises
    ------
    ConflictError
        Its owner, of the release before, is alive.
    RolloutError
        It cannot be read.
    """
    found = _former(registry, model)
    if found is None:
        return
    if not found.ended and lease.is_alive(settings, found):
        raise lease.refusal(found)
    _keep(registry, records, found)


def _former(registry: Registry, model: str) -> Rollout | None:
    """Return the rollout that the release before kept in MLflow, or None."""
    told = registry.model_tags(model).get(_FORMER_TAG, "")
    if not told:
        return None
    try:
        return record.decode_rollout(told)
    except ValueError as error:
        raise RolloutError(
            f"The tag {_FORMER_TAG} of the model {model} in MLflow, where an earlier release kept "
            f"its rollout, cannot be read ({error}). Delete the tag in MLflow, and run again."
        ) from error


def _keep(registry: Registry, records: RecordStore, found: Rollout) -> None:
    record.change(
        records, found.model, lambda now: now if now.rollout else replace(now, rollout=found)
    )
    registry.set_model_tag(found.model, _FORMER_TAG, "")


def promote(held: Lease, target: Target, registry: Registry) -> Rollout:
    """Make a version that has passed every stage the champion, unless a user wants otherwise.

    Raises
    ------
    RolledBackError
        A user aborted it.
    RolloutError
        It has not passed a stage.
    """
    command = held.command()
    if command is not None and command.verb == "abort":
        problem = f"aborted by {command.by}"
        roll_back(held, target, registry, problem)
        raise RolledBackError(
            f"Version {held.rollout.version} of {held.rollout.model} is rolled back: {problem}."
        )
    if held.rollout.state != "promoted":
        held.move("promoted", weight=0, paused=False)
    return held.rollout if held.rollout.settled else settle(held, target, registry)


def roll_back(held: Lease, target: Target, registry: Registry, problem: str) -> Rollout:
    """Remove a version from service for good."""
    if held.rollout.state != "rolled back":
        take_off(held, target, held.rollout.back(problem))
    return held.rollout if held.rollout.settled else settle(held, target, registry)


def take_off(held: Lease, target: Target, after: Rollout) -> None:
    """Remove a version from service at once. MLflow is updated later.

    Parameters
    ----------
    after
        The rollout, rolled back.

    Raises
    ------
    RolledBackError
        A user has rolled it back already.
    ConflictError
        Another process took the rollout over.
    RolloutError
        The record could not be written; the version is removed all the same.
    """
    failed = None
    try:
        held.put(after)
    except (ConflictError, RolledBackError):
        raise
    except RolloutError as error:
        failed = error
    try:
        target.roll_back(after, finish=False)
    except NotDeployedError as error:
        log.error("%s", error)  # noqa: TRY400 - a sentence
        if failed is None:
            held.put(replace(after, problem=f"{after.problem}. {error}"))
    if failed is not None:
        raise failed


def settle(held: Lease, target: Target, registry: Registry) -> Rollout:
    """Make traffic, aliases and tags follow the end of a rollout."""
    rollout = held.rollout
    version = registry.version(rollout.model, rollout.version)
    champion = rollout.champion
    if rollout.state == "promoted":
        champion = rollout.version
        target.promote(rollout)
        rollout = held.put(rollout)  # raises if it was rolled back meanwhile
        _tag_promotion(registry, version, rollout)
    else:
        try:
            target.roll_back(rollout)
        except NotDeployedError as error:
            log.warning("%s", error)
        registry.tag(version, {"rolled_back": rollout.problem})
    registry.tag(version, {"rollout": verdict(rollout)})
    if "challenger" in version.aliases:
        registry.drop_alias(rollout.model, "challenger")
    return held.put(replace(rollout, settled=True), champion=champion)


def record_rollback(registry: Registry, target: Target, intent: RollbackIntent) -> None:
    """Record a rollback in the registry that the traffic already follows.

    Raises
    ------
    RolloutError
        The intent names a version that is not in the registry, or leaves no champion.
    """
    _check_known(registry, target, intent)
    _record(registry, target, intent)


def verdict(rollout: Rollout) -> str:
    """Return how a rollout ended as the JSON of a tag."""
    return json.dumps(rollout.verdict(), separators=(",", ":"), ensure_ascii=False)


def _check_known(registry: Registry, target: Target, intent: RollbackIntent) -> None:
    """Refuse an intent that is not of this registry."""
    known = {version.number: version for version in registry.versions(intent.model)}
    named = {*intent.taken_off, *([intent.champion] if intent.champion else [])}
    unknown = sorted(named - set(known))
    champion = next((number for number, of in known.items() if "champion" in of.aliases), 0)
    wrong = ""
    if unknown:
        wrong = f"names version {unknown[0]}, which the registry does not know"
    elif (
        not intent.champion
        and champion in intent.taken_off
        and target.status(intent.model).champion == champion
    ):
        wrong = f"takes off version {champion}, the champion, and leaves none"
    if wrong:
        raise RolloutError(
            f"The pending rollback of {intent.model} {wrong}: use the registry that knows it, or "
            f"delete its record ({target.records.where(intent.model)}), and run again."
        )


def _record(registry: Registry, target: Target, intent: RollbackIntent) -> None:
    former = _former(registry, intent.model)
    if former is not None:  # otherwise a later command would go on with it
        _keep(registry, target.records, former)
    ended = _end(target.records, intent)
    cause = {"at": intent.at, "by": intent.by, "why": intent.why}
    for number in intent.taken_off:
        version = registry.version(intent.model, number)
        entry = ledger.entry("rolled back", **cause)
        registry.tag(version, {"rolled_back": str(intent).removeprefix("rolled back ")} | entry)
        if ended is not None and ended.version == number:
            registry.tag(version, {"rollout": verdict(ended)})
        if "challenger" in version.aliases:
            registry.drop_alias(intent.model, "challenger")
    # Before the first release there is no champion to return to.
    champion = registry.version(intent.model, intent.champion) if intent.champion else None
    if champion is not None and "champion" not in champion.aliases:
        numbers = " and ".join(map(str, intent.taken_off))
        told = f"in place of version {numbers} by {intent.by} at {intent.at}: {intent.why}"
        entry = ledger.entry("restored", **cause)
        registry.tag(champion, {"restored": told, "rolled_back": ""} | entry)
        registry.set_alias(champion, "champion")
    record.forget(target.records, intent, champion=intent.champion)


def _end(records: RecordStore, intent: RollbackIntent) -> Rollout | None:
    """End the rollout of a version that was rolled back, and return it; None if there is none."""

    def concerned(found: Rollout | None) -> bool:
        return found is not None and found.version in intent.taken_off

    def ended(now: Record) -> Record:
        if now.rollout is None or now.rollout.settled or not concerned(now.rollout):
            return now
        return replace(now, rollout=now.rollout.overruled(str(intent)))

    found = record.change(records, intent.model, ended).rollout
    return found if concerned(found) and found and found.state == "rolled back" else None


def _tag_promotion(registry: Registry, version: Version, rollout: Rollout) -> None:
    """Tag who promoted it, when and why; the tags of a current champion stay."""
    if "champion" in version.aliases:
        return
    by_hand = f", promoted by hand by {rollout.by_hand}" if rollout.by_hand else ""
    by, why = rollout.by_hand or rollout.actor, f"{rollout.why}{by_hand}"
    at = datetime.fromisoformat(rollout.renewed).isoformat(timespec="seconds")
    told = {
        "promoted_by": by,
        "promoted_at": at,
        "promoted_why": why,
        "rolled_back": "",
        **ledger.entry("promoted", at=at, by=by, why=why),
    }
    registry.tag(version, told)
    registry.set_alias(version, "champion")
