"""Stage a version at the model server."""

from __future__ import annotations

from pathlib import Path

from roadworthy import bundle
from roadworthy.rollout.local import stage
from roadworthy.rollout.state import RolledBackError, RolloutError
from roadworthy.settings import Settings


def roll_out(settings: Settings, *, packed: Path, version: int) -> None:
    """Return when the version answers those who ask for it.

    It gets no traffic yet, so the registry, which takes long to load, is not asked as long as all
    goes well: that its rollout has begun is noted there already.

    Raises
    ------
    RefusedError
        The server refuses the version. It is off the road, and the registry says why.
    RolloutError
        No server holds it in time. It is off the road, and the registry says why.
    """
    staged = bundle.read(packed)
    try:
        stage(settings, staged, version)
    except RolledBackError:  # by a person, who has told the registry
        raise
    except RolloutError as error:
        _record(settings, staged.manifest.model, version, str(error))
        raise


def _record(settings: Settings, model: str, version: int, problem: str) -> None:
    from roadworthy.registry import Registry
    from roadworthy.rollout import closing, lease
    from roadworthy.rollout.lease import Lease
    from roadworthy.rollout.local import LocalTarget

    registry = Registry.of(settings)
    found = lease.read(registry, model)
    ours = found is not None and (found.version, found.holder) == (version, settings.holder)
    if found is not None and ours and not found.ended:
        closing.roll_back(Lease(settings, registry, found), LocalTarget(settings), problem)
