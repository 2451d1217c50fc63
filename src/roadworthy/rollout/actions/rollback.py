"""Back to an earlier version: the traffic first, MLflow after it.

On one machine MLflow takes longer to import than users of the service should wait for a good
answer, and the routing file remembers which version the champion followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions import targets
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.engine.target import Target

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Registry


@dataclass(frozen=True)
class Rollback:
    """A rollback that the traffic follows, or will when the version is ready."""

    settings: Settings
    target: Target
    intent: RollbackIntent

    def wait(self) -> str:
        """Return the address where the version answers, once it does; empty if nothing serves it.

        Raises
        ------
        RolloutError
            It does not within ``settings.ready_seconds``.
        """
        return self.target.wait_for(self.intent)

    def record(self) -> None:
        """Tell MLflow, and remove the intent."""
        from roadworthy.rollout.engine import finalising

        finalising.record_rollback(_registry(self.settings), self.target, self.intent)


def roll_back(settings: Settings, model: str, *, to: int = 0, why: str) -> Rollback:
    """Deploy an earlier version.

    Parameters
    ----------
    to
        The version. 0 means: during a rollout, the champion alone; else the one before it.
    why
        The reason, for the tags of the version that is removed from service.

    Raises
    ------
    RolloutError
        There is no such version to go back to, or it does not come up.
    RoadworthyError
        MLflow, or the store of bundles where it is needed, fails.
    """
    target = targets.target(settings)
    if target.records.read(model).intent is not None:
        from roadworthy.rollout.engine import finalising

        finalising.catch_up(settings, _registry(settings), target, model)
    champion, challenger = target.deployed(model)
    rollout = target.records.read(model).rollout
    if not challenger and rollout is not None and not rollout.ended:
        # One that was killed before its version was deployed is rolled back all the same.
        challenger = rollout.version
    number = goal(model, champion, challenger, to) or target.former(model)
    number = number or _former(_registry(settings), model, champion)
    off = taken_off(model, champion, challenger, number)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    intent = RollbackIntent(model, number, off, settings.actor, at, why)
    try:
        target.put_back(intent)
    except RolledBackError:  # by somebody else, in the same moment
        raise
    except RolloutError as error:
        raise RolloutError(f"{error} What answered before goes on answering.") from error
    return Rollback(settings, target, intent)


def goal(model: str, champion: int, challenger: int, to: int) -> int:
    """Return the version to go back to; 0 if it is whichever was the champion before this one.

    Parameters
    ----------
    champion, challenger
        The versions that are deployed; 0 where there is none.
    to
        The version that is asked for; 0 if none is.

    Raises
    ------
    RolloutError
        There is no way back to it.
    """
    on_trial = challenger not in (0, champion)
    if not champion:
        raise RolloutError(
            f"{model} has no champion, so there is nothing to roll back. `roadworthy run {model}` "
            f"makes a first one."
        )
    if on_trial and to == challenger:
        raise RolloutError(
            f"Version {to} of {model} is being rolled out: `roadworthy rollout promote {model}` "
            f"makes it the champion at once."
        )
    return champion if on_trial and not to else to


def taken_off(model: str, champion: int, challenger: int, chosen: int) -> tuple[int, ...]:
    """Return the versions that are removed from service when one alone is to answer.

    Raises
    ------
    RolloutError
        None is.
    """
    off = tuple(one for one in dict.fromkeys((champion, challenger)) if one not in (0, chosen))
    if not off:
        raise RolloutError(
            f"Version {chosen} of {model} answers already, and no other is deployed: there is "
            f"nothing to roll back."
        )
    return off


def _former(registry: Registry, model: str, champion: int) -> int:
    """Return the version that was promoted last before the champion, and not rolled back."""
    promoted = [
        version
        for version in registry.versions(model)
        if version.tags.get("promoted_at")
        and not version.tags.get("rolled_back")
        and version.number != champion
    ]
    if not promoted:
        raise RolloutError(
            f"No other version of {model} was the champion before version {champion}. Name one "
            f"with --to; `roadworthy models` lists them."
        )
    return max(promoted, key=lambda version: version.tags["promoted_at"]).number


def _registry(settings: Settings) -> Registry:
    # here alone: it takes seconds to import, and a rollback on one machine may do without it
    from roadworthy.tracking.registry import Registry

    return Registry.of(settings)
