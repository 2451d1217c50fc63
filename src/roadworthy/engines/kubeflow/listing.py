"""The runs on Kubeflow, the latest first."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any

from roadworthy.engines.kubeflow.client import Client, everything
from roadworthy.engines.kubeflow.submission import find_experiment, pipeline_name
from roadworthy.engines.kubeflow.tasks import WORDS
from roadworthy.engines.local.runs import Listed


def on_kubeflow(client: Client, model: str, limit: int, now: datetime) -> list[Listed]:
    """Return the latest runs on Kubeflow, at most ``limit``, of one model or ("") of all.

    The duration of a run that has not ended is counted until ``now``.
    """
    experiment = find_experiment(client)
    if experiment is None:
        return []
    pipelines = everything(client.list_pipelines, "pipelines", namespace=client.settings.namespace)
    models = {
        str(one.pipeline_id): one.display_name.removesuffix(pipeline_name("")) for one in pipelines
    }
    runs = everything(client.list_runs, "runs", experiment_id=experiment, sort_by="created_at desc")
    listed = (_listed(client, run, models, now) for run in runs)
    return list(islice((run for run in listed if model in ("", run.model)), limit))


def _listed(client: Client, run: Any, models: dict[str, str], now: datetime) -> Listed:
    parameters = (run.runtime_config.parameters if run.runtime_config else None) or {}
    reference = run.pipeline_version_reference
    started = run.created_at
    # Kubeflow gives a run that has not ended the start of time as its end.
    ended = run.finished_at if run.finished_at and run.finished_at >= started else now
    return Listed(
        str(run.display_name),
        models.get(reference.pipeline_id, "") if reference else "",
        str(parameters.get("trigger", "manual")),
        WORDS.get(run.state, str(run.state).lower()),
        started,
        (ended - started).total_seconds(),
        client.settings.run_address(run.run_id),
    )
