"""Start a rollout: one at a time, after finishing an interrupted one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, lease
from roadworthy.rollout.engine.lease import ConflictError, Lease
from roadworthy.rollout.engine.record import Record
from roadworthy.rollout.engine.state import RolloutError, Strategy
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
    """Return the lease of a new rollout of a version.

    An unfinished rollout or rollback is finished first. A rollout of the same version whose owner
    is dead continues from its state; one of another version is rolled back.

    Parameters
    ----------
    unique
        Whether the owner's name is unique, like that of a run: when a cluster retries a step in
        another process, it continues the rollout of the first attempt.

    Raises
    ------
    ConflictError
        Another rollout of the model is under way, or MLflow names another champion than the one
        that is deployed; the error names it.
    RolloutError
        The target does not support the strategy.
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
            log.info("Continued the rollout that %s began.", first.owner)
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


def refuse_failed(version: Version) -> None:
    """Refuse to deploy a version that the gate refused.

    Raises
    ------
    RolloutError
        It did.
    """
    if version.tags.get("gate") == "failed":
        why = version.tags.get("gate_reasons", "it does not say why")
        raise RolloutError(
            f"The gate refused version {version.number} of {version.model} ({why}): it is not "
            f"deployed. Choose another one of those that `roadworthy models` lists."
        )


def conflict(record: Record, aliased: int) -> str:
    """Return how MLflow's alias differs from the deployed champion, with the two ways out.

    Parameters
    ----------
    aliased
        The version of MLflow's alias champion; 0 if there is none.

    Returns
    -------
    str
        A sentence; empty if they agree, or if a rollout or rollback is not finalised.
    """
    rollout = record.rollout
    pending = rollout is not None and rollout.ended and not rollout.settled
    agree = 0 in (aliased, record.champion) or aliased == record.champion
    if agree or pending or record.intent is not None:
        return ""
    model = record.model
    return (
        f"MLflow's alias champion names version {aliased} of {model}, but version "
        f"{record.champion} is deployed: roll the other one out with `roadworthy rollout start "
        f"{model}:{aliased}`, or move the alias back to version {record.champion} in MLflow."
    )
