"""Make a verified version the champion."""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
from roadworthy.tracking.registry import Registry


def promote(settings: Settings, model: str, *, version: int, owner: str) -> None:
    """Make the version answer everybody, and note who promoted it, when and why.

    That it is promoted is noted in the registry first, then it is deployed, then aliases and
    tags say so. Should the process die in between, whoever comes next finishes it.

    Parameters
    ----------
    owner
        The run that began the rollout.

    Raises
    ------
    RolledBackError
        A person aborted the rollout.
    RolloutError
        A stage is left, or the rollout is somebody else's.
    """
    registry = Registry.of(settings)
    served = target(settings, registry)
    held = lease.hold(settings, served.records, model, version, owner)
    finalising.promote(held, served, registry)
