"""The runs on Kubeflow, the latest first, told as those of a machine are."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any

from roadworthy.engines.kubeflow.connection import Connection, everything
from roadworthy.engines.kubeflow.submission import find_experiment, pipeline_name
from roadworthy.engines.kubeflow.tasks import WORDS
from roadworthy.engines.local.runs import Listed


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
    listed = (_listed(connection, run, models, now) for run in found)
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
