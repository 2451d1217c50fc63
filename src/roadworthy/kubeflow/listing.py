"""Runs, the latest first: those on Kubeflow, or those of this machine, told alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from roadworthy import records
from roadworthy.kubeflow.connection import Connection, everything
from roadworthy.kubeflow.submission import find_experiment, pipeline_name
from roadworthy.kubeflow.tasks import WORDS
from roadworthy.records import Record
from roadworthy.rollout.holder import lives
from roadworthy.settings import Settings
from roadworthy.steps.report import HTML, JSON

_FACTS = "run.json"


@dataclass(frozen=True)
class Listed:
    """A run.

    Parameters
    ----------
    state
        How it stands or ended, in words.
    started
        When; None before its first step.
    seconds
        How long it took, or takes by now; None before its first step.
    address
        Where a person sees it.
    """

    name: str
    model: str
    trigger: str
    state: str
    started: datetime | None
    seconds: float | None
    address: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        started = self.started.isoformat(timespec="seconds") if self.started else None
        return asdict(self) | {"started": started}


def on_kubeflow(connection: Connection, model: str, limit: int, now: datetime) -> list[Listed]:
    """Return the latest runs on Kubeflow, of one model or of all.

    Parameters
    ----------
    limit
        How many at most.
    now
        The time, for how long a run takes that goes on.
    """
    experiment = find_experiment(connection)
    if experiment is None:
        return []
    models = _models(connection)
    found = everything(
        connection.runs.run_service_list_runs,
        "runs",
        experiment_id=experiment,
        sort_by="created_at desc",
    )
    return _latest((_listed(connection, run, models, now) for run in found), model, limit)


def on_this_machine(settings: Settings, model: str, limit: int, now: datetime) -> list[Listed]:
    """Return the latest runs of this machine, of one model or of all.

    Parameters
    ----------
    limit
        How many at most.
    now
        The time, for how long a run takes that goes on.
    """
    facts = sorted((settings.home / "runs").glob(f"*/{_FACTS}"), reverse=True)
    listed = (
        _local(settings, file.parent.name, json.loads(file.read_text()), now) for file in facts
    )
    return _latest(listed, model, limit)


def _latest(listed: Iterator[Listed], model: str, limit: int) -> list[Listed]:
    """Return the first of the runs of a model, or of all; no more than these are looked at."""
    return list(islice((run for run in listed if model in ("", run.model)), limit))


def _models(connection: Connection) -> dict[str, str]:
    """Return the models by the ids of their pipelines."""
    suffix = pipeline_name("")
    found = everything(
        connection.pipelines.pipeline_service_list_pipelines, "pipelines", **connection.where
    )
    return {str(one.pipeline_id): one.display_name.removesuffix(suffix) for one in found}


def _listed(connection: Connection, run: Any, models: dict[str, str], now: datetime) -> Listed:
    parameters = (run.runtime_config.parameters if run.runtime_config else None) or {}
    reference = run.pipeline_version_reference
    started = run.created_at
    ended = run.finished_at if run.finished_at and run.finished_at >= started else now
    return Listed(
        str(run.display_name),
        models.get(reference.pipeline_id, "") if reference else "",
        str(parameters.get("trigger", "manual")),
        WORDS.get(run.state, str(run.state).lower()),
        started,
        (ended - started).total_seconds(),
        connection.settings.run_address(run.run_id),
    )


def _local(settings: Settings, name: str, facts: dict[str, str], now: datetime) -> Listed:
    told = records.get(settings.records, name, JSON)
    steps = records.read(settings.records, name)
    goes_on = told is None and _holds(settings, facts["model"], name)
    started = min((_moment(step.started) for step in steps), default=None)
    ended = now if goes_on else max(_ends(steps), default=None)
    return Listed(
        name,
        facts["model"],
        facts["trigger"],
        json.loads(told)["outcome"] if told else "runs" if goes_on else "stopped",
        started,
        (ended - started).total_seconds() if started and ended else None,
        str(settings.home / "runs" / name / HTML) if told else "",
    )


def _holds(settings: Settings, model: str, name: str) -> bool:
    """Return whether a run is the one that goes on now."""
    try:
        facts = json.loads((settings.home / f"{model}.run.json").read_text())
    except FileNotFoundError:
        return False
    return bool(facts.get("run") == name and lives(facts.get("holder", "")))


def _ends(steps: list[Record]) -> Iterator[datetime]:
    return (_moment(step.ended) for step in steps if step.ended)


def _moment(told: str) -> datetime:
    return datetime.fromisoformat(told).astimezone(UTC)
