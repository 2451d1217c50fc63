"""Take a version that failed its verification out of service."""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
from roadworthy.tracking.registry import Registry


def roll_back(settings: Settings, model: str, *, version: int, problem: str, owner: str) -> None:
    """Leave the champion deployed alone, and note why in the version's tags.

    Parameters
    ----------
    owner
        The run that began the rollout.

    Raises
    ------
    RolloutError
        The rollout is somebody else's.
    """
    registry = Registry.of(settings)
    served = target(settings, registry)
    finalising.catch_up(settings, registry, served, model)
    held = lease.hold(settings, served.records, model, version, owner)
    finalising.roll_back(held, served, registry, problem)
