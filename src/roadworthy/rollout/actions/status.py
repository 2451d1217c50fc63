"""The status of models: where they are served, by which versions, and their rollouts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.models import contract
from roadworthy.rollout.actions import targets
from roadworthy.rollout.engine.target import Status
from roadworthy.routing import routes

if TYPE_CHECKING:
    from roadworthy.rollout.engine.record import RecordStore
    from roadworthy.rollout.engine.state import Rollout
    from roadworthy.tracking.registry import Registry

_PATIENCE_SECONDS = 5.0
"""How long a cluster that does not answer is asked by somebody who only looks."""


@dataclass(frozen=True)
class ModelStatus:
    """How one model stands.

    Parameters
    ----------
    status
        What the place says where it is served.
    rollout
        The rollout that is under way; None if none is.
    alive
        Whether its owner goes on with it.
    """

    status: Status
    rollout: Rollout | None = None
    alive: bool = False

    @property
    def problem(self) -> str:
        """What is wrong, in sentences; empty if nothing is."""
        return self.status.problem

    @property
    def told(self) -> dict[str, str]:
        """It in words, by what they are about."""
        now = self.status
        return {
            "model": now.model,
            "place": now.place,
            "url": now.url,
            "champion": str(now.champion or "none"),
            "challenger": str(now.challenger or "none"),
            "weight": f"{now.weight} %" if now.challenger else "",
            "ready": "yes" if now.ready else "no",
            "rollout": self._rollout(),
            "problem": now.problem,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        rollout = self.rollout
        under_way = None
        if rollout is not None:
            kept = ("version", "state", "weight", "paused", "strategy", "owner", "started")
            under_way = {name: getattr(rollout, name) for name in kept} | {"alive": self.alive}
        # `share` is the weight's name of before, kept for one release
        return asdict(self.status) | {"share": self.status.weight, "rollout": under_way}

    def _rollout(self) -> str:
        if self.rollout is None:
            return "none"
        gone = "" if self.alive else ", which is gone"
        return f"{self.rollout}, by {self.rollout.owner}{gone}"


def statuses(settings: Settings, model: str = "") -> list[ModelStatus]:
    """Return how a model stands, or all of them, whatever cannot be reached.

    Parameters
    ----------
    model
        The model; all that the registry knows, if none is named. Where it does not answer, those
        that this installation and the routing files of this machine know.
    """
    registry, problem = _registry(settings)
    names: list[str] = []
    if model:
        names = [model]
    elif registry is not None:
        try:
            names = registry.models()
        except RoadworthyError as error:
            registry, problem = None, str(error)
    if not names and registry is None:
        names = sorted({*contract.available(), *routes.models(settings.routing)})
    hasty = {"ready_seconds": min(_PATIENCE_SECONDS, settings.ready_seconds)}
    try:
        served = targets.target(settings.model_copy(update=hasty), registry)
    except RoadworthyError as error:  # the place cannot even be spoken to
        lost = [Status(name, settings.target, problem=str(error)) for name in names]
        return [_model_status(settings, registry, one, problem) for one in lost]
    return [
        _model_status(settings, registry, served.status(name), problem, served.records)
        for name in names
    ]


def _registry(settings: Settings) -> tuple[Registry | None, str]:
    from roadworthy.tracking.registry import Registry

    try:
        return Registry.of(settings), ""
    except RoadworthyError as error:
        return None, str(error)


def _model_status(
    settings: Settings,
    registry: Registry | None,
    status: Status,
    problem: str,
    records: RecordStore | None = None,
) -> ModelStatus:
    """Add what the record and MLflow say; ``problem`` is what is wrong with MLflow."""
    from roadworthy.rollout.engine import finalising, lease, starting

    model, rollout, alive, left, moved = status.model, None, False, "", ""
    try:
        if records is not None and registry is not None:
            finalising.carry_over(settings, registry, records, model)
        if records is not None:
            record = records.read(model)
            found = record.rollout
            rollout = None if found is None or found.ended else found
            going = found is not None and lease.is_alive(settings, found)
            alive = rollout is not None and going
            left = "" if found is None or going else _left(found, status)
            if registry is not None:
                champion = registry.aliased(model, "champion")
                moved = starting.conflict(record, champion.number if champion else 0)
    except RoadworthyError as error:
        problem = problem or str(error)
    both = " ".join(part for part in (status.problem, problem, left, moved) if part)
    return ModelStatus(replace(status, problem=both), rollout, alive)


def _left(found: Rollout, status: Status) -> str:
    """Return what somebody has to do as the owner of a rollout is gone; nothing if nothing."""
    model = found.model
    told = f"{str(found).rstrip('.')}, but {found.owner} is gone"
    told = f"{told[:1].upper()}{told[1:]}"
    if found.ended and not found.settled:
        return (
            f"{told} before everything said so: `roadworthy rollout resume {model}` finishes it, "
            f"`roadworthy rollback {model}` goes back."
        )
    if not found.ended and status.weight and status.challenger == found.version:
        return (
            f"{told}: `roadworthy rollout resume {model}` goes on with it, `roadworthy rollout "
            f"abort {model}` removes it from service."
        )
    return ""
