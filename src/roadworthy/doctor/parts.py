"""Which checks there are, and which of them concern one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from roadworthy.core.environment import SettingsError
from roadworthy.core.settings import Settings
from roadworthy.doctor import (
    buckets,
    data,
    kserve,
    machine,
    objects,
    reach,
    registry,
    remotes,
    rights,
    served,
)
from roadworthy.doctor.api import Api, Connection, NotReachedError
from roadworthy.doctor.connecting import connect
from roadworthy.doctor.examination import Check, Part
from roadworthy.doctor.finding import Finding, missing, ok
from roadworthy.engines.kubeflow import settings as kubeflow_settings
from roadworthy.rollout.kserve import kserve_settings

Target = Literal["laptop", "cluster", "all"]

_DVC, _S3 = ("dvc.fs", "dvc.config", "boto3"), ("boto3",)
_KUBERNETES = ("roadworthy.rollout.kserve.cluster",)
_KUBEFLOW = ("roadworthy.engines.kubeflow.client",)
_REGISTRY = ("roadworthy.tracking.registry",)
_INFO = "kubectl cluster-info"


def chosen(settings: Settings, directory: Path, target: Target | None) -> list[Part]:
    """Return the parts that are looked at.

    Parameters
    ----------
    directory
        Where one is; a laptop's checks look at the clone around it.
    target
        What to look at; None for what the settings use.
    """
    wanted = target or ("cluster" if settings.target == "kserve" else "laptop")
    parts = []
    if wanted in ("laptop", "all"):
        parts.append(laptop(settings, directory))
    if wanted in ("cluster", "all"):
        parts.append(cluster(settings))
    return [*parts, services(settings, directory, wanted)]


def laptop(settings: Settings, directory: Path) -> Part:
    """Return the checks of the machine one sits at."""
    install = "make .venv/.installed"
    return Part(
        "Laptop",
        (
            Check("Python", machine.python, install),
            Check("git", machine.git_program, "apt-get install git"),
            Check("author", partial(machine.identity, directory), "git config --list"),
            Check("clone", partial(machine.clone, directory), "git status"),
            Check("environment", partial(machine.environment, directory), install),
            Check("home", partial(machine.home, settings), "export ROADWORTHY_HOME=DIRECTORY"),
            Check("model server", partial(served.server, settings), "roadworthy serve"),
            Check("page", partial(served.page, settings, directory), "roadworthy serve"),
            Check("Chromium", machine.chromium, "apt-get install chromium"),
            Check("Docker", machine.docker, "apt-get install docker.io"),
        ),
    )


def cluster(settings: Settings) -> Part:
    """Return the checks of the cluster: of its API server, and of what is asked of that."""
    try:
        where, kubeflow = kserve_settings.from_environment(), kubeflow_settings.from_environment()
    except SettingsError as error:
        found = missing("settings", str(error), "env | grep ROADWORTHY_")
        return Part("Cluster", (Check("settings", lambda: found, found.remedy),))
    runs, account = kubeflow.namespace or objects.SINGLE_USER, kubeflow.service_account
    connection = Connection(partial(connect, where.context))
    asked: dict[str, Callable[[Api], Finding | Sequence[Finding]]] = {
        "namespace": lambda api: objects.namespace(api, where),
        "KServe's kinds": kserve.kinds,
        "KServe's mode": lambda api: kserve.mode(api, where),
        "ServingRuntime": lambda api: objects.runtime(api, where),
        "accounts": lambda api: objects.accounts(api, where, runs, account),
        "secrets": lambda api: objects.secrets(api, where, runs),
        "ConfigMap": lambda api: objects.settings_of_steps(api, where, runs),
        "own rights": lambda api: rights.own(api, where),
        "rights of the pipeline": lambda api: rights.of_pipeline(api, where, runs, account),
        "models": lambda api: kserve.models(api, settings, where),
    }
    return Part(
        "Cluster",
        (
            Check("API server", partial(_api_server, connection, tuple(asked)), _INFO, _KUBERNETES),
            *(
                Check(name, partial(_where_reached, connection, look), _INFO, _KUBERNETES)
                for name, look in asked.items()
            ),
        ),
    )


def services(settings: Settings, directory: Path, target: Target) -> Part:
    """Return the checks of what a laptop and a cluster use alike, wherever it is."""
    on_cluster = target != "laptop"

    def shared(name: str, field: str, look: reach.Look) -> reach.Look:
        return reach.from_pods(name, settings, field, look) if on_cluster else look

    git = shared("Git remote", "git_remote", partial(remotes.git_remote, settings))
    mlflow = shared("registry", "mlflow_tracking_uri", partial(registry.registry, settings))
    checks = [
        Check("Git remote", git, "git remote --verbose"),
        Check("registry", mlflow, "env | grep MLFLOW", _REGISTRY),
        Check("champions", partial(registry.champions, settings), "roadworthy models", _REGISTRY),
    ]
    if machine.is_clone(directory):
        look: reach.Look = partial(data.data, settings, directory, for_pods=on_cluster)
        checks.append(Check("data", look, "dvc pull", _DVC))
    if on_cluster:
        # A bucket has a line of its own, and is nothing's line here.
        look = shared("records", "records", tuple)
        checks.append(Check("records", look, "env | grep ROADWORTHY_RECORDS"))
    for name, variables in buckets.named(settings).items():
        look = partial(buckets.bucket, name, variables)
        checks.append(Check(f"bucket {name}", look, f"aws s3 ls s3://{name}", _S3))
    if on_cluster:
        look = partial(buckets.bundle_store, settings)
        checks.append(Check("bundle store", look, "env | grep AWS_", _S3))
    if on_cluster or "ROADWORTHY_KFP_URL" in os.environ:
        checks.append(Check("Kubeflow", remotes.kubeflow, "env | grep ROADWORTHY_KFP_", _KUBEFLOW))
        checks.append(Check("image of the steps", partial(remotes.image, settings), "make image"))
    if on_cluster or settings.prometheus_url:
        look = partial(remotes.prometheus, settings)
        checks.append(Check("Prometheus", look, "env | grep ROADWORTHY_PROMETHEUS_URL"))
    return Part("Stores and services", tuple(checks))


def _api_server(connection: Connection, others: Sequence[str]) -> Finding:
    """Look whether the API server answers; if not, tell what could not be looked at."""
    name = "API server"
    try:
        api = connection.api()
    except NotReachedError as error:
        told = f"{error}; so not looked at: {', '.join(others)}"
        return missing(name, told, error.remedy)
    version = api.get("/version")["gitVersion"]
    return ok(name, f"{version} at {api.address}, as {api.who or 'one that has no name'}")


def _where_reached(
    connection: Connection, look: Callable[[Api], Finding | Sequence[Finding]]
) -> Finding | Sequence[Finding]:
    """Look, unless the API server does not answer, which has a line of its own."""
    try:
        api = connection.api()
    except NotReachedError:
        return ()
    return look(api)
