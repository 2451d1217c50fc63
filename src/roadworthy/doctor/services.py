"""Services that the settings name: Git, MLflow, Kubeflow, Prometheus and the model server."""

from __future__ import annotations

import importlib.metadata

import httpx

from roadworthy.core.http import connect
from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError
from roadworthy.data import git
from roadworthy.data.access import Access, AccessError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.objects import unpinned
from roadworthy.rollout.local.server import address

_SECONDS = 5
_SERVE = "roadworthy serve"


def git_remote(settings: Settings) -> Finding:
    """Check that the Git remote has the branch, and can be read with the token."""
    name, remote, branch = "Git remote", settings.git_remote, settings.git_branch
    embedded = settings.embedded_remote
    if embedded is not None and not embedded.exists():
        return ok(name, f"{remote}, which the first run makes")
    try:
        access = Access.of(settings)
    except AccessError as error:
        return missing(name, str(error), "export ROADWORTHY_GIT_REMOTE=https://HOST/PROJECT.git")
    slow = ("-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={_SECONDS}")
    try:
        tip = git.git(*slow, "ls-remote", "--", remote, f"refs/heads/{branch}", access=access)
    except CommandError as error:
        if access.refusal(error.output):
            remedy = "read -rs ROADWORTHY_GIT_TOKEN && export ROADWORTHY_GIT_TOKEN"
            return missing(name, str(error), remedy)
        return missing(name, f"{remote} does not respond ({error})", f"git ls-remote {remote}")
    if not tip:
        told = f"{remote} has no branch {branch}"
        return missing(name, told, f"git push {remote} HEAD:refs/heads/{branch}")
    return ok(name, f"{remote}, {branch} at {tip[:12]}")


def registry(settings: Settings) -> Finding:
    """Check that MLflow responds, accepts the login, and is of our major version."""
    from roadworthy.tracking.registry import Registry, RegistryError

    name, uri = "registry", settings.mlflow_tracking_uri
    if not uri.startswith(("http://", "https://")):
        if not settings.has_registry:
            return warning(name, f"{uri} does not exist: the first run makes it", "make run")
        count = len(Registry.of(settings).models())
        return ok(name, f"{uri}, {count} model{'' if count == 1 else 's'}")
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/version", timeout=_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        remedy = "export ROADWORTHY_MLFLOW_TRACKING_URI=https://MLFLOW.company.example"
        return missing(name, f"{uri} gives no version ({error})", remedy)
    version, ours = answer.text.strip().strip('"'), importlib.metadata.version("mlflow")
    try:
        Registry.of(settings)
    except RegistryError as error:
        return missing(name, str(error), "export MLFLOW_TRACKING_USERNAME=NAME")
    told = f"MLflow {version} at {uri}"
    if version.partition(".")[0] != ours.partition(".")[0]:
        return warning(name, f"{told}, and ours is {ours}", f"pip install mlflow=={ours}")
    return ok(name, told)


def kubeflow() -> Finding:
    """Check that the API of Kubeflow Pipelines responds, and lets one list experiments."""
    from roadworthy.engines.kubeflow.client import Client, KubeflowError, RefusedError
    from roadworthy.engines.kubeflow.settings import from_environment

    name, remedy = "Kubeflow", "export ROADWORTHY_KFP_URL=https://KUBEFLOW.company.example"
    settings = from_environment()
    if not settings.url:
        return missing(name, "its address is not set, so nothing can be submitted", remedy)
    try:
        Client(settings).list_experiments(page_size=1, namespace=settings.namespace)
    except RefusedError as error:
        return missing(name, str(error), "export ROADWORTHY_KFP_TOKEN_PATH=FILE")
    except KubeflowError as error:
        return missing(name, str(error), remedy)
    space = f", namespace {settings.namespace}" if settings.namespace else ""
    return ok(name, f"{settings.url}{space}")


def image(settings: Settings) -> Finding:
    """Check that the image of the steps is pinned."""
    name, remedy = "image of the steps", "make image && export ROADWORTHY_IMAGE=IMAGE:COMMIT"
    if not settings.image:
        return warning(name, "not set: `roadworthy submit` requires --image then", remedy)
    problem = unpinned(settings.image)
    return missing(name, problem, remedy) if problem else ok(name, settings.image)


def prometheus(settings: Settings) -> Finding:
    """Check that Prometheus answers a query."""
    name, url = "Prometheus", settings.prometheus_url
    remedy = "export ROADWORTHY_PROMETHEUS_URL=http://PROMETHEUS:9090"
    if not url:
        return ok(name, "not set: a canary on a cluster reads the metrics of the pods themselves")
    try:
        query = f"{url.rstrip('/')}/api/v1/query"
        answer = httpx.get(query, params={"query": "vector(1)"}, timeout=_SECONDS)
        if answer.raise_for_status().json().get("status") == "success":
            return ok(name, f"{url} answers queries")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as error:
        return missing(name, f"{url} answers no query ({error})", remedy)
    return missing(name, f"{url} responds, but not as Prometheus", remedy)


def model_server(settings: Settings) -> Finding:
    """Check that a model server of these settings responds, if there is one."""
    name, url = "model server", _server(settings)
    if not url:
        return warning(name, f"none serves {settings.home}", _SERVE)
    try:
        with connect(url, settings.token) as client:
            client.get("/v2/health/live").raise_for_status()
            listed = client.get("/v2/models")
    except httpx.HTTPError as error:
        return missing(name, f"{url} does not respond ({error})", _SERVE)
    if not listed.is_success:
        remedy = "read -rs ROADWORTHY_TOKEN && export ROADWORTHY_TOKEN"
        return missing(name, f"{url} is live and responds with {listed.status_code}", remedy)
    models = ", ".join(sorted(listed.json().get("models", []))) or "no model"
    return ok(name, f"{url}, serving {models}")


def _server(settings: Settings) -> str:
    """Return the server's address; "" where there never was one."""
    if "serving_url" in settings.model_fields_set or (settings.home / "server.lock").is_file():
        return address(settings)
    return ""
