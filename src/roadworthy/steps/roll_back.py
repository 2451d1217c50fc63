"""Take a version that failed its verification off the road."""

from __future__ import annotations

from roadworthy.registry import Registry
from roadworthy.rollout import closing, opening
from roadworthy.rollout.targets import target
from roadworthy.settings import Settings


def roll_back(settings: Settings, model: str, *, version: int, problem: str, owner: str) -> None:
    """Leave the champion alone on the road, and note why in the version's tags.

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
    closing.catch_up(settings, registry, served, model)
    held = opening.hold(settings, registry, model, version, owner)
    closing.roll_back(held, served, problem)
