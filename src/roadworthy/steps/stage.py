"""Stage a version at the model server."""

from __future__ import annotations

from pathlib import Path

from roadworthy.bundles import bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.state import RolledBackError


def stage(settings: Settings, *, packed: Path, version: int, owner: str) -> str:
    """Return the address at which the version answers requests that name it.

    It gets no traffic yet. On an error it is removed from service, and the registry says why.

    Parameters
    ----------
    owner
        The run that started the rollout.

    Raises
    ------
    RefusedError
        The server refuses the version.
    RolloutError
        No server loads it in time, or the rollout has another owner.
    """
    staged = bundle.read(packed)
    model, served = staged.manifest.model, target(settings)
    held = lease.hold(settings, served.records, model, version, owner)
    if held.rollout.problem:  # found by an earlier attempt, or by a user
        raise RolledBackError(f"Version {version} of {model} is off: {held.rollout.problem}")
    try:
        Driver(held, served, staged.golden).stage(staged)
    finally:
        if held.rollout.problem:
            # here alone: MLflow takes seconds to import, and is needed only where staging fails
            from roadworthy.tracking.registry import Registry

            finalising.settle(held, served, Registry.of(settings))
    return settings.serving_url if settings.target == "local" else served.status(model).url
