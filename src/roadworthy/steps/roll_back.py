"""Take a version that failed its verification out of service."""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
from roadworthy.tracking.registry import Registry


def roll_back(settings: Settings, model: str, *, version: int, problem: str, owner: str) -> None:
    """Send all traffic to the champion, and record why in the version's tags.

    Parameters
    ----------
    owner
        The run that started the rollout.

    Raises
    ------
    RolloutError
        The rollout has another owner.
    """
    registry = Registry.of(settings)
    served = target(settings, registry)
    finalising.catch_up(settings, registry, served, model)
    held = lease.hold(settings, served.records, model, version, owner)
    finalising.roll_back(held, served, registry, problem)
