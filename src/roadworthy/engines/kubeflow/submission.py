"""A run on Kubeflow: its pipeline, version and experiment are made if they are not there."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api

from roadworthy.engines.kubeflow.connection import (
    Connection,
    KubeflowError,
    ensure,
    everything,
    named,
)
from roadworthy.engines.kubeflow.packaging import Package

_LOST = {"FAILED", "CANCELED", "CANCELING"}
_SECOND = 1.1
"""What Kubeflow tells of a moment is its second, and a little more."""


class VersionError(KubeflowError):
    """A version of the pipeline has this name and another content."""


@dataclass(frozen=True)
class Submitted:
    """A run that was started.

    Parameters
    ----------
    run, name
        Its id and its name at Kubeflow.
    model, commit, version
        What it is a run of.
    address
        Where a person sees it.
    found
        Whether it was there already: submitted before, with the same name and arguments.
    """

    run: str
    name: str
    model: str
    commit: str
    version: str
    address: str
    found: bool


def run_name(trigger: str, moment: datetime) -> str:
    """Return the name of a run, ``[data] at [2026-11-21T10:00:00Z]``.

    Parameters
    ----------
    moment
        When it was triggered, with its offset. The same moment gives the same name.
    """
    return f"[{trigger}] at [{timestamp(moment)}]"


def timestamp(moment: datetime) -> str:
    """Return a moment as the names of runs tell it, in UTC and to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def pipeline_name(model: str) -> str:
    """Return the name of a model's pipeline."""
    return f"{model}-production"


def submit(
    connection: Connection, package: Package, name: str, arguments: Mapping[str, Any]
) -> Submitted:
    """Start a run, and return it.

    One that was submitted before with the same name, version and arguments is not started twice:
    it is returned, unless it failed or was stopped. So a job that is run again takes up its run.
    Of two that are submitted at once the one that was made first goes on, and is returned to both.

    Raises
    ------
    VersionError
        The commit's version is there with another content.
    KubeflowError
        Kubeflow refuses, or cannot be reached.
    """
    pipeline = _pipeline(connection, package.model)
    version = _version(connection, pipeline, package)
    experiment = ensure_experiment(connection)
    reference = kfp_server_api.V2beta1PipelineVersionReference(
        pipeline_id=pipeline, pipeline_version_id=version
    )
    wanted = kfp_server_api.V2beta1Run(
        display_name=name,
        description=f"{package.model} at commit {package.commit}",
        experiment_id=experiment,
        pipeline_version_reference=reference,
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=dict(arguments)),
        service_account=connection.settings.service_account,
    )
    asked = False

    def create() -> str:
        nonlocal asked
        asked = True
        return str(connection.runs.run_service_create_run(wanted).run_id)

    before = _oldest(connection, wanted)
    made = before or ensure(lambda: _oldest(connection, wanted), create)
    run = before or _yielded(connection, wanted, made)
    return Submitted(
        run,
        name,
        package.model,
        package.commit,
        package.version,
        connection.settings.run_address(run),
        found=not asked or run != made,
    )


def find_pipeline(connection: Connection, model: str) -> str | None:
    """Return the id of a model's pipeline, or None."""
    found = everything(
        connection.pipelines.pipeline_service_list_pipelines,
        "pipelines",
        filter=named(pipeline_name(model)),
        **connection.where,
    )
    return next((str(one.pipeline_id) for one in found), None)


def find_experiment(connection: Connection) -> str | None:
    """Return the id of the experiment that runs are put into, or None."""
    found = everything(
        connection.experiments.experiment_service_list_experiments,
        "experiments",
        filter=named(connection.settings.experiment),
        **connection.where,
    )
    return next((str(one.experiment_id) for one in found), None)


def ensure_experiment(connection: Connection) -> str:
    """Return the id of the experiment that runs are put into, which is made if it is not there."""
    wanted = kfp_server_api.V2beta1Experiment(
        display_name=connection.settings.experiment, **connection.where
    )
    create = connection.experiments.experiment_service_create_experiment
    return ensure(lambda: find_experiment(connection), lambda: str(create(wanted).experiment_id))


def _pipeline(connection: Connection, model: str) -> str:
    wanted = kfp_server_api.V2beta1Pipeline(
        display_name=pipeline_name(model),
        description=f"Takes {model} from its data to the road.",
        **connection.where,
    )
    create = connection.pipelines.pipeline_service_create_pipeline
    return ensure(lambda: find_pipeline(connection, model), lambda: str(create(wanted).pipeline_id))


def _version(connection: Connection, pipeline: str, package: Package) -> str:
    described = f"commit {package.commit}, image {package.image}, sha256 {package.digest}"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{package.version}.yaml"
        file.write_bytes(package.content)
        found = ensure(
            lambda: _find_version(connection, pipeline, package.version),
            lambda: connection.uploads.upload_pipeline_version(
                str(file), name=package.version, pipelineid=pipeline, description=described
            ),
        )
    # An engine may give a package back in other words, so it is known by what was said of it.
    if not (found.description or "").endswith(f"sha256 {package.digest}"):
        raise VersionError(
            f"Kubeflow has the version {package.version} of {pipeline_name(package.model)} with "
            f"another content ({found.description or 'nothing tells which'}): submit with the "
            f"image it names, or delete that version in Kubeflow's pages and run again."
        )
    return str(found.pipeline_version_id)


def _find_version(connection: Connection, pipeline: str, name: str) -> Any:
    found = everything(
        connection.pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline,
        filter=named(name),
    )
    return next(found, None)


def _yielded(connection: Connection, wanted: kfp_server_api.V2beta1Run, made: str) -> str:
    """Return the run that goes on: ours, or that of somebody who said the same just before us."""
    # Of two that Kubeflow made in one second each has to see the other, so that second has to pass.
    time.sleep(min(_SECOND, connection.settings.poll_seconds))
    run = _oldest(connection, wanted)
    if run in (None, made):
        return made

    def stop() -> str:
        connection.runs.run_service_terminate_run(made)
        return made

    ensure(lambda: None if made in _alike(connection, wanted) else made, stop)
    return str(run)


def _oldest(connection: Connection, wanted: kfp_server_api.V2beta1Run) -> str | None:
    return next(iter(_alike(connection, wanted)), None)


def _alike(connection: Connection, wanted: kfp_server_api.V2beta1Run) -> list[str]:
    """Return the runs that are what is wanted and may end well, in one order for everybody."""
    found = everything(
        connection.runs.run_service_list_runs,
        "runs",
        experiment_id=wanted.experiment_id,
        filter=named(wanted.display_name),
    )
    alike = [run for run in found if run.state not in _LOST and _made_of(run) == _made_of(wanted)]
    alike.sort(key=_age)
    return [str(run.run_id) for run in alike]


def _age(run: kfp_server_api.V2beta1Run) -> tuple[float, str]:
    return run.created_at.timestamp() if run.created_at else math.inf, str(run.run_id)


def _made_of(run: kfp_server_api.V2beta1Run) -> tuple[str, str]:
    reference, config = run.pipeline_version_reference, run.runtime_config
    parameters = (config.parameters if config else None) or {}
    version = reference.pipeline_version_id if reference else ""
    return str(version), json.dumps(parameters, sort_keys=True)
