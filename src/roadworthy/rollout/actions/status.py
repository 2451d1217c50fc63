"""The status of models: where they are served, by which versions, and their rollouts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.models import contract
from roadworthy.rollout.actions import targets
from roadworthy.rollout.engine.state import with_former_names
from roadworthy.rollout.engine.target import Status
from roadworthy.routing import routes

if TYPE_CHECKING:
    from roadworthy.rollout.engine.record import RecordStore
    from roadworthy.rollout.engine.state import Rollout
    from roadworthy.tracking.registry import Registry

_PATIENCE_SECONDS = 5.0
"""For how long the status waits for a cluster that does not answer."""


@dataclass(frozen=True)
class ModelStatus:
    """The status of a model and its rollout.

    Parameters
    ----------
    status
        Its status in the place where it is served.
    rollout
        The rollout that is under way, or None.
    alive
        Whether its owner is alive.
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
        """The status in words, by name."""
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
            "stage": self.rollout.live.progress if self.rollout and self.rollout.live else "",
            "problem": now.problem,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        rollout = self.rollout
        under_way = None
        if rollout is not None:
            kept = (
                *("version", "state", "weight", "paused", "strategy", "owner", "started"),
                "metrics_problem",
            )
            under_way = {name: getattr(rollout, name) for name in kept} | {"alive": self.alive}
            under_way["live"] = None if rollout.live is None else asdict(rollout.live)
        found: dict[str, Any] = with_former_names(asdict(self.status) | {"rollout": under_way})
        return found

    def _rollout(self) -> str:
        if self.rollout is None:
            return "none"
        dead = "" if self.alive else ", which is dead"
        metrics = self.rollout.metrics_problem
        blind = f"; only golden batches are analysed: {metrics}" if metrics else ""
        return f"{self.rollout}, by {self.rollout.owner}{dead}{blind}"


def statuses(settings: Settings, model: str = "") -> list[ModelStatus]:
    """Return the status of one or all models, even if the registry or the place is out of reach.

    Parameters
    ----------
    model
        The model; if empty, all models of the registry. If that does not answer, those of this
        installation and of the routing files of this machine.
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
    except RoadworthyError as error:  # there is no way to the place
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
    """Add the record and the alias; ``problem`` is what is wrong with MLflow."""
    from roadworthy.rollout.engine import finalising, lease, starting

    model, rollout, alive, abandoned, moved = status.model, None, False, "", ""
    try:
        if records is not None and registry is not None:
            finalising.carry_over(settings, registry, records, model)
        if records is not None:
            record = records.read(model)
            found = record.rollout
            rollout = None if found is None or found.ended else found
            going = found is not None and lease.is_alive(settings, found)
            alive = rollout is not None and going
            abandoned = "" if found is None or going else _abandoned(found, status)
            if registry is not None:
                champion = registry.aliased(model, "champion")
                moved = starting.conflict(record, champion.number if champion else 0)
    except RoadworthyError as error:
        problem = problem or str(error)
    both = " ".join(part for part in (status.problem, problem, abandoned, moved) if part)
    return ModelStatus(replace(status, problem=both), rollout, alive)


def _abandoned(found: Rollout, status: Status) -> str:
    """Return what to do about an abandoned rollout, in a sentence; empty if nothing."""
    model = found.model
    told = f"{str(found).rstrip('.')}, but {found.owner} is dead"
    told = f"{told[:1].upper()}{told[1:]}"
    if found.ended and not found.settled:
        return (
            f"{told} before it was finalised: `roadworthy rollout resume {model}` finishes it, "
            f"`roadworthy rollback {model}` goes back."
        )
    if not found.ended and status.weight and status.challenger == found.version:
        return (
            f"{told}: `roadworthy rollout resume {model}` goes on with it, `roadworthy rollout "
            f"abort {model}` removes it from service."
        )
    return ""
