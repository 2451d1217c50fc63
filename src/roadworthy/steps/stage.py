"""Stage a version at the model server."""

from __future__ import annotations

from pathlib import Path

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.local import local_target


def stage(settings: Settings, *, packed: Path, version: int, owner: str) -> str:
    """Return the address at which the version answers those who ask for it.

    It gets no traffic yet. What goes wrong takes it off again, and the registry says why.

    Parameters
    ----------
    owner
        The run that began the rollout.

    Raises
    ------
    RefusedError
        The server refuses the version.
    RolloutError
        No server holds it in time, or the rollout is somebody else's.
    """
    staged = bundle.read(packed)
    if settings.target == "local":
        return _stage_here(settings, staged, version)
    return _stage(settings, staged, version, owner)


def _stage_here(settings: Settings, staged: Bundle, version: int) -> str:
    """Stage it at the server of this machine.

    The registry, which takes long to load, is not asked as long as all goes well: that its rollout
    has begun is noted there already.
    """
    try:
        local_target.stage(settings, staged, version)
    except RolledBackError:  # by a person, who has told the registry
        raise
    except RolloutError as error:
        _record(settings, staged.manifest.model, version, str(error))
        raise
    return settings.serving_url


def _stage(settings: Settings, staged: Bundle, version: int, owner: str) -> str:
    """Stage it at a cluster, which takes long: the registry is told that it goes on."""
    from roadworthy.rollout.actions.targets import target
    from roadworthy.rollout.engine import finalising, starting
    from roadworthy.rollout.engine.driver import Driver
    from roadworthy.tracking.registry import Registry

    model, registry = staged.manifest.model, Registry.of(settings)
    served = target(settings, registry)
    held = starting.hold(settings, registry, model, version, owner)
    if held.rollout.problem:  # found by an earlier attempt, or by a person
        raise RolledBackError(f"Version {version} of {model} is off: {held.rollout.problem}")
    try:
        Driver(held, served, staged.golden).stage(staged)
    finally:
        if held.rollout.problem:
            finalising.settle(held, served)
    return served.standing(model).url


def _record(settings: Settings, model: str, version: int, problem: str) -> None:
    from roadworthy.rollout.engine import finalising, lease
    from roadworthy.rollout.engine.lease import Lease
    from roadworthy.rollout.local.local_target import LocalTarget
    from roadworthy.tracking.registry import Registry

    registry = Registry.of(settings)
    found = lease.read(registry, model)
    ours = found is not None and (found.version, found.holder) == (version, settings.holder)
    if found is not None and ours and not found.ended:
        finalising.roll_back(Lease(settings, registry, found), LocalTarget(settings), problem)
