"""Back to an earlier version, wherever versions are served."""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.rollback_choice import Undone


def roll_back(settings: Settings, model: str, *, to: int = 0, why: str) -> Undone:
    """Put an earlier version on the road.

    Parameters
    ----------
    to
        The version. 0 means: during a rollout, the champion alone; else the one before it.
    why
        The reason, for the tags of the version that is taken off.

    Raises
    ------
    RolloutError
        There is no such version to go back to.
    """
    if settings.target != "local":
        from roadworthy.rollout.actions import cluster_rollback

        return cluster_rollback.roll_back(settings, model, to=to, why=why)
    from roadworthy.rollout.actions import local_rollback

    return local_rollback.roll_back(settings, model, to=to, why=why)
