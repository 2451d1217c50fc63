"""The table of checks, and which of them are run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from roadworthy.core.environment import SettingsError
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data import git
from roadworthy.doctor import kserve, machine, objects, rights, services, storage
from roadworthy.doctor.checks import Check, Look, Part
from roadworthy.doctor.cluster import Api, ForbiddenError, UnreachableError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.variables import is_shared, unshared
from roadworthy.engines.kubeflow import settings as kubeflow_settings
from roadworthy.rollout.kserve import kserve_settings

Target = Literal["laptop", "cluster", "all"]


def chosen(settings: Settings, directory: Path, target: Target | None) -> list[Part]:
    """Return the checks of a target in a directory; None is what the settings use."""
    wanted = target or ("cluster" if settings.target == "kserve" else "laptop")
    return [
        *([laptop(settings, directory)] if wanted != "cluster" else []),
        *([cluster()] if wanted != "laptop" else []),
        others(settings, directory, wanted),
    ]


def laptop(settings: Settings, directory: Path) -> Part:
    """Return the checks of this machine."""
    return Part(
        "Laptop",
        (
            Check("git", machine.git_program, "apt-get install git"),
            Check("clone", partial(machine.clone, directory), "git status"),
            Check("home", partial(machine.home, settings), "export ROADWORTHY_HOME=DIRECTORY"),
            Check("model server", partial(services.model_server, settings), "roadworthy serve"),
        ),
    )


def cluster() -> Part:
    """Return the checks of the cluster; its API server is connected to at once."""
    try:
        where, kubeflow = kserve_settings.from_environment(), kubeflow_settings.from_environment()
        api = Api(where.context)
    except SettingsError as error:
        return _alone(missing("settings", str(error), "env | grep ROADWORTHY_"))
    except UnreachableError as error:
        told = f"{error}; so the other checks of the cluster are skipped"
        return _alone(missing("API server", told, error.remedy))
    place = objects.Place(
        where, kubeflow.namespace or objects.SINGLE_USER, kubeflow.service_account
    )
    told = f"{api.version} at {api.address}"
    looks: dict[str, Look] = {
        "API server": lambda: ok("API server", told),
        "KServe's kinds": partial(kserve.kinds, api),
        "spec.canary": partial(kserve.canary, api),
        "KServe's mode": partial(kserve.mode, api, where),
        **objects.checks(api, place),
        "own rights": partial(rights.own, api, where),
        f"rights of {place.account}": partial(rights.of_pipeline, api, *place),
    }
    return Part(
        "Cluster",
        tuple(
            Check(name, _where_permitted(name, look, where.namespace), "kubectl cluster-info")
            for name, look in looks.items()
        ),
    )


def others(settings: Settings, directory: Path, target: Target) -> Part:
    """Return the checks of what a laptop and a cluster use alike, wherever it is."""
    on_cluster = target != "laptop"

    def shared(name: str, field: str, look: Look) -> Look:
        """Look only at what pods reach, where a cluster is checked."""
        value = str(getattr(settings, field))
        if on_cluster and not is_shared(value):
            return lambda: unshared(name, field, value)
        return look

    remote = shared("Git remote", "git_remote", partial(services.git_remote, settings))
    mlflow = shared("registry", "mlflow_tracking_uri", partial(services.registry, settings))
    checks = [
        Check("Git remote", remote, "git remote --verbose"),
        Check("registry", mlflow, "env | grep MLFLOW", ("roadworthy.tracking.registry",)),
    ]
    with suppress(RoadworthyError):  # no clone, which has a line of its own
        git.inspect_root(directory)
        look: Look = partial(storage.data, settings, directory, for_pods=on_cluster)
        checks.append(Check("data", look, "dvc pull", ("dvc.fs", "dvc.config", "boto3")))
    for name, variables in storage.buckets(settings).items():
        look = partial(storage.bucket, name, variables)
        checks.append(Check(f"bucket {name}", look, f"aws s3 ls s3://{name}", ("boto3",)))
    if on_cluster:
        # A bucket has a line of its own, and needs none here.
        look = shared("records", "records", tuple)
        checks.append(Check("records", look, "env | grep ROADWORTHY_RECORDS"))
        look = partial(storage.bundle_store, settings)
        checks.append(Check("bundle store", look, "env | grep AWS_", ("boto3",)))
    if on_cluster or "ROADWORTHY_KFP_URL" in os.environ:
        needs = ("roadworthy.engines.kubeflow.client",)
        checks.append(Check("Kubeflow", services.kubeflow, "env | grep ROADWORTHY_KFP_", needs))
        checks.append(Check("image of the steps", partial(services.image, settings), "make image"))
    if on_cluster or settings.prometheus_url:
        look = partial(services.prometheus, settings)
        checks.append(Check("Prometheus", look, "env | grep ROADWORTHY_PROMETHEUS_URL"))
    return Part("Stores and services", tuple(checks))


def _alone(found: Finding) -> Part:
    return Part("Cluster", (Check(found.name, lambda: found, found.remedy),))


def _where_permitted(name: str, look: Look, namespace: str) -> Look:
    """Return a look that warns where one has no permission."""

    def permitted() -> Finding | Sequence[Finding]:
        try:
            return look()
        except ForbiddenError:
            remedy = f"kubectl --namespace {namespace} auth can-i --list"
            return warning(name, "no permission to look (403)", remedy)

    return permitted
