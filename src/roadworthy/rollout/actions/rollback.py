"""Roll back to an earlier version: the traffic first, then MLflow.

On one machine the import of MLflow takes longer than clients should wait for a good version, and
the routing file holds the version that was the champion before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions import targets
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.starting import refuse_failed
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.engine.target import Target
from roadworthy.tracking import ledger

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Registry


@dataclass(frozen=True)
class Rollback:
    """A rollback whose version is deployed, or being deployed."""

    settings: Settings
    target: Target
    intent: RollbackIntent

    def wait(self) -> str:
        """Wait until the version answers, and return its address; empty if no server runs.

        Raises
        ------
        RolloutError
            It does not within ``settings.ready_seconds``.
        """
        return self.target.wait_for(self.intent)

    def record(self) -> None:
        """Record the rollback in MLflow, and remove the intent."""
        from roadworthy.rollout.engine import finalising

        finalising.record_rollback(_registry(self.settings), self.target, self.intent)


def roll_back(settings: Settings, model: str, *, to: int = 0, why: str) -> Rollback:
    """Deploy an earlier version.

    Parameters
    ----------
    to
        The version. 0 means the champion during a rollout, else the champion before it.
    why
        The reason, for the tags of the version that is removed from service.

    Raises
    ------
    RolloutError
        There is no such version to deploy, the gate refused it, or it does not become ready.
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
        # A rollout that was killed before its version was deployed is rolled back, too.
        challenger = rollout.version
    number = goal(model, champion, challenger, to) or target.former(model)
    if to not in (0, champion, challenger) and to != target.former(model):
        refuse_failed(_registry(settings).version(model, to))
    number = number or _former(_registry(settings), model, champion)
    off = taken_off(model, champion, challenger, number)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    intent = RollbackIntent(model, number, off, settings.actor, at, why)
    try:
        target.put_back(intent)
    except RolledBackError:  # another rollback at the same time
        raise
    except RolloutError as error:
        raise RolloutError(f"{error} The versions deployed before still answer.") from error
    return Rollback(settings, target, intent)


def goal(model: str, champion: int, challenger: int, to: int) -> int:
    """Return the version to deploy; 0 for the champion before this one.

    Parameters
    ----------
    champion, challenger
        The versions that are deployed; 0 where there is none.
    to
        The requested version; 0 if none is.

    Raises
    ------
    RolloutError
        It cannot be rolled back to.
    """
    has_challenger = challenger not in (0, champion)
    if not champion:
        raise RolloutError(
            f"{model} has no champion, so there is nothing to roll back. `roadworthy run {model}` "
            f"makes a first one."
        )
    if has_challenger and to == challenger:
        raise RolloutError(
            f"Version {to} of {model} is being rolled out: `roadworthy rollout promote {model}` "
            f"makes it the champion at once."
        )
    return champion if has_challenger and not to else to


def taken_off(model: str, champion: int, challenger: int, chosen: int) -> tuple[int, ...]:
    """Return the versions that are removed from service so that one is deployed alone.

    Raises
    ------
    RolloutError
        There are none.
    """
    off = tuple(one for one in dict.fromkeys((champion, challenger)) if one not in (0, chosen))
    if not off:
        raise RolloutError(
            f"Version {chosen} of {model} answers already, and no other is deployed: there is "
            f"nothing to roll back."
        )
    return off


def _former(registry: Registry, model: str, champion: int) -> int:
    """Return the champion before this one, as the ledger has it."""
    number = ledger.predecessor(registry.versions(model), champion)
    if not number:
        raise RolloutError(
            f"No other version of {model} was the champion before version {champion}. Name one "
            f"with --to; `roadworthy models` lists them."
        )
    return number


def _registry(settings: Settings) -> Registry:
    # here: MLflow takes seconds to import, and a rollback on one machine may not need it
    from roadworthy.tracking.registry import Registry

    return Registry.of(settings)
