"""Runs on Kubeflow are submitted, each once; what they need is made where it does not exist."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kfp_server_api import V2beta1Pipeline

from roadworthy.engines.kubeflow.client import Client, KubeflowError, ensure, everything, named
from roadworthy.engines.kubeflow.packaging import Package

_LOST = {"FAILED", "CANCELED", "CANCELING"}
_SECOND = 1.1
"""Kubeflow tells a time to the second; this is a little more."""


class VersionError(KubeflowError):
    """A version of the pipeline has this name and another content."""


@dataclass(frozen=True)
class Submitted:
    """A submitted run: its id, its web page, and whether it had been submitted before."""

    run: str
    address: str
    found: bool


def run_name(trigger: str, moment: datetime) -> str:
    """Return the name of a run, ``[data] at [2026-11-21T10:00:00Z]``."""
    return f"[{trigger}] at [{timestamp(moment)}]"


def timestamp(moment: datetime) -> str:
    """Return a moment with an offset as the names of runs have it, in UTC and to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def pipeline_name(model: str) -> str:
    """Return the name of a model's pipeline."""
    return f"{model}-production"


def submit(client: Client, package: Package, name: str, arguments: Mapping[str, Any]) -> Submitted:
    """Start a run, and return it.

    A run that was submitted before with the same name, version and arguments is not started again
    but returned, unless it failed or was cancelled: so a repeated job follows its run. Of two that
    are submitted at the same time the older continues, and is returned to both.

    Raises
    ------
    VersionError
        The commit's version exists with another content.
    KubeflowError
        Kubeflow refuses, or does not respond.
    """
    pipeline = _ensure_pipeline(client, package.model)
    version = _ensure_version(client, pipeline, package)
    experiment = ensure_experiment(client)
    tried = False

    def alike() -> list[str]:
        runs = everything(client.list_runs, "runs", experiment_id=experiment, filter=named(name))
        found = [run for run in runs if _is_run_of(run, version, arguments)]
        found.sort(key=lambda run: (run.created_at, run.run_id))
        return [str(run.run_id) for run in found]

    def create() -> str:
        nonlocal tried
        tried = True
        made = client.run_pipeline(
            experiment,
            name,
            params=dict(arguments),
            pipeline_id=pipeline,
            version_id=version,
            service_account=client.settings.service_account,
        )
        return str(made.run_id)

    made = run = ensure(lambda: next(iter(alike()), None), create)
    if tried:
        # Of two that were made in one second each must see the other: that second has to pass.
        time.sleep(min(_SECOND, client.settings.poll_seconds))
        run = next(iter(alike()), made)
        if run != made:
            ensure(lambda: None if made in alike() else True, lambda: client.terminate_run(made))
    return Submitted(run, client.settings.run_address(run), found=not tried or run != made)


def find_pipeline(client: Client, model: str) -> str | None:
    """Return the id of a model's pipeline, or None."""
    page = client.list_pipelines(
        filter=named(pipeline_name(model)), namespace=client.settings.namespace
    )
    return next((str(one.pipeline_id) for one in page.pipelines or ()), None)


def find_experiment(client: Client) -> str | None:
    """Return the id of the experiment of the runs, or None."""
    settings = client.settings
    page = client.list_experiments(filter=named(settings.experiment), namespace=settings.namespace)
    return next((str(one.experiment_id) for one in page.experiments or ()), None)


def ensure_experiment(client: Client) -> str:
    """Return the id of the experiment of the runs, which is made if it does not exist."""
    settings = client.settings

    def create() -> str:
        made = client.create_experiment(settings.experiment, namespace=settings.namespace)
        return str(made.experiment_id)

    return ensure(lambda: find_experiment(client), create)


def _ensure_pipeline(client: Client, model: str) -> str:
    wanted = V2beta1Pipeline(
        display_name=pipeline_name(model),
        description=f"Takes {model} from its data to production.",
        namespace=client.settings.namespace or None,
    )

    def create() -> str:
        # Without a first version, which kfp.Client.upload_pipeline would name as the pipeline.
        return str(client.pipelines.pipeline_service_create_pipeline(wanted).pipeline_id)

    return ensure(lambda: find_pipeline(client, model), create)


def _ensure_version(client: Client, pipeline: str, package: Package) -> str:
    described = f"commit {package.commit}, image {package.image}, sha256 {package.digest}"

    def find() -> Any:
        page = client.list_pipeline_versions(pipeline, filter=named(package.version))
        return next(iter(page.pipeline_versions or ()), None)

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{package.version}.yaml"
        file.write_bytes(package.content)
        found = ensure(
            find,
            lambda: client.upload_pipeline_version(
                str(file), package.version, pipeline_id=pipeline, description=described
            ),
        )
    # Kubeflow may return a package in another form, so its digest is in the description.
    if not (found.description or "").endswith(f"sha256 {package.digest}"):
        raise VersionError(
            f"Kubeflow has the version {package.version} of {pipeline_name(package.model)} with "
            f"another content ({found.description or 'without a description'}): submit with the "
            f"image it names, or delete that version in Kubeflow's pages and run again."
        )
    return str(found.pipeline_version_id)


def _is_run_of(run: Any, version: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a run has this version and these arguments, and may still succeed."""
    reference, config = run.pipeline_version_reference, run.runtime_config
    return (
        run.state not in _LOST
        and bool(reference and reference.pipeline_version_id == version)
        and ((config and config.parameters) or {}) == dict(arguments)
    )
