"""The start of a rollout: one at a time, and none on top of an unfinished one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, lease
from roadworthy.rollout.engine.lease import ConflictError, Lease
from roadworthy.rollout.engine.record import Record
from roadworthy.rollout.engine.state import Strategy
from roadworthy.rollout.engine.target import Target

if TYPE_CHECKING:
    # MLflow takes seconds to import, and a conflict is found without it
    from roadworthy.tracking.registry import Registry, Version

log = logging.getLogger(__name__)


def start(
    settings: Settings,
    registry: Registry,
    target: Target,
    version: Version,
    *,
    strategy: Strategy,
    owner: str,
    why: str,
    unique: bool = False,
) -> Lease:
    """Return the right to roll a version out.

    An unfinished rollout or rollback is finished first. A rollout of the same version whose owner
    is dead continues from its state; one of another version is rolled back.

    Parameters
    ----------
    unique
        Whether only one has the owner's name, such as a run: when a cluster retries a step, in
        another process than at first, it continues what the first attempt began.

    Raises
    ------
    ConflictError
        Another rollout of the model is under way, or MLflow names another champion than the one
        that is deployed; the error names it.
    RolloutError
        The target knows no such strategy.
    """
    model, records = version.model, target.records
    finalising.catch_up(settings, registry, target, model)
    record = records.read(model)
    first = record.rollout
    if first is not None and not first.ended:
        same = first.owner == owner and (unique or first.holder == settings.holder)
        if not same and lease.is_alive(settings, first):
            raise lease.refusal(first)
        held = lease.take_over(settings, records, first, owner)
        if first.version == version.number:
            log.info("Went on with the rollout that %s had begun.", first.owner)
            return held
        finalising.roll_back(
            held, target, registry, f"its owner, {first.owner}, ended before it did"
        )
    champion = registry.aliased(model, "champion")
    number = 0 if champion is None else champion.number
    moved = conflict(record, number)
    if moved and version.number != number:
        raise ConflictError(moved)
    target.check(strategy)
    return lease.begin(
        *(settings, records, model, version.number),
        champion=record.champion if moved else number,
        strategy=strategy,
        owner=owner,
        why=why,
    )


def conflict(record: Record, aliased: int) -> str:
    """Return how MLflow's alias differs from what is deployed, with the two ways out.

    Parameters
    ----------
    aliased
        The version that MLflow calls the champion; 0 if it calls none so.

    Returns
    -------
    str
        A sentence; empty if they agree, or if a rollout or rollback is still to tell MLflow.
    """
    rollout = record.rollout
    untold = rollout is not None and rollout.ended and not rollout.settled
    if untold or record.intent is not None or aliased in (0, record.champion):
        return ""
    if not record.champion:
        return ""
    model = record.model
    return (
        f"MLflow's alias champion names version {aliased} of {model}, but version "
        f"{record.champion} is deployed: roll the other one out with `roadworthy rollout start "
        f"{model}:{aliased}`, or move the alias back to version {record.champion} in MLflow."
    )
