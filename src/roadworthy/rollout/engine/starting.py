"""The beginning of a rollout: one at a time, and none on top of what another left half done."""

from __future__ import annotations

import logging

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, lease
from roadworthy.rollout.engine.lease import Lease
from roadworthy.rollout.engine.state import Strategy
from roadworthy.rollout.engine.target import Target
from roadworthy.tracking.registry import Registry, Version

log = logging.getLogger(__name__)


def begin(
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

    What was left half done is finished first. A rollout of the same version whose owner is dead
    goes on from where it is; one of another version is rolled back.

    Parameters
    ----------
    unique
        Whether only one has the owner's name, such as a run: when a cluster tries a step again, in
        another process than at first, it goes on with what the first attempt began.

    Raises
    ------
    TakenError
        Another rollout of the model is under way; the error names it.
    RolloutError
        The target knows no such strategy.
    """
    model = version.model
    finalising.catch_up(settings, registry, target, model)
    first = lease.read(registry, model)
    if first is not None and not first.ended:
        same = first.owner == owner and (unique or first.holder == settings.holder)
        if not same and lease.is_alive(settings, first):
            raise lease.refusal(first)
        held = lease.take_over(settings, registry, first, owner)
        if first.version == version.number:
            log.info("Went on with the rollout that %s had begun.", first.owner)
            return held
        finalising.roll_back(held, target, f"its owner, {first.owner}, ended before it did")
    champion = registry.aliased(model, "champion")
    number = 0 if champion is None else champion.number
    target.check(strategy)
    return lease.begin(
        settings,
        registry,
        model,
        version.number,
        champion=number,
        strategy=strategy,
        owner=owner,
        why=why,
    )


def hold(settings: Settings, registry: Registry, model: str, version: int, owner: str) -> Lease:
    """Return the right to go on with a rollout that an earlier step of the same owner began.

    Raises
    ------
    TakenError
        It is not this owner's any more, or it is of another version.
    """
    found = lease.read(registry, model)
    if found is None:
        raise lease.TakenError(
            f"No rollout of {model} was begun. Run `roadworthy run {model}` again."
        )
    if (found.version, found.owner) != (version, owner):
        raise lease.TakenError(
            f"The rollout of version {version} of {model} was taken over: {found}, by "
            f"{found.owner}. `roadworthy rollout status {model}` tells how it stands."
        )
    return Lease(settings, registry, found)
