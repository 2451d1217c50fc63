"""Make a verified version the champion."""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
from roadworthy.tracking.registry import Registry


def promote(settings: Settings, model: str, *, version: int, owner: str) -> None:
    """Send all traffic to the version, and record who promoted it, when and why.

    The promotion is recorded first, then the version is deployed, then its aliases and tags are
    set. If the process dies in between, the next run or command finishes it.

    Parameters
    ----------
    owner
        The run that started the rollout.

    Raises
    ------
    RolledBackError
        A user aborted the rollout.
    RolloutError
        A stage is not passed yet, or the rollout has another owner.
    """
    registry = Registry.of(settings)
    served = target(settings, registry)
    held = lease.hold(settings, served.records, model, version, owner)
    finalising.promote(held, served, registry)
