"""What is elsewhere: the Git remote, Kubeflow and Prometheus."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

import httpx

from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError
from roadworthy.data import git
from roadworthy.data.access import Access, AccessError
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.doctor.objects import unpinned

_SECONDS = 5
_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}


def git_remote(settings: Settings) -> Finding:
    """Look whether the Git remote has the branch, and lets one read it with the token there is."""
    name, remote, branch = "Git remote", settings.git_remote, settings.git_branch
    embedded = settings.embedded_remote
    if embedded is not None and not embedded.exists():
        return ok(name, f"{remote}, which the first run makes")
    try:
        access = Access.of(settings)
    except AccessError as error:
        return missing(name, str(error), "export ROADWORTHY_GIT_REMOTE=https://HOST/PROJECT.git")
    try:
        commit = _tip(remote, branch, access)
    except (OSError, CommandError) as error:
        if isinstance(error, CommandError) and access.refusal(error.output):
            remedy = "read -rs ROADWORTHY_GIT_TOKEN && export ROADWORTHY_GIT_TOKEN"
            return missing(name, str(error), remedy)
        cause = getattr(error, "strerror", None) or error
        return missing(name, f"{remote} does not answer ({cause})", f"git ls-remote {remote}")
    if not commit:
        told = f"{remote} has no branch {branch}"
        return missing(name, told, f"git push {remote} HEAD:refs/heads/{branch}")
    return ok(name, f"{remote}, {branch} at {commit[:12]}")


def kubeflow() -> Finding:
    """Look whether the API of Kubeflow Pipelines answers, and lets one see its experiments."""
    from roadworthy.engines.kubeflow.client import Client, KubeflowError, RefusedError
    from roadworthy.engines.kubeflow.settings import from_environment

    name, remedy = "Kubeflow", "export ROADWORTHY_KFP_URL=https://KUBEFLOW.company.example"
    settings = from_environment()
    if not settings.url:
        return missing(name, "not named, so nothing can be submitted", remedy)
    try:
        Client(settings).list_experiments(page_size=1, namespace=settings.namespace)
    except RefusedError as error:
        return missing(name, str(error), "export ROADWORTHY_KFP_TOKEN_PATH=FILE")
    except KubeflowError as error:
        return missing(name, str(error), remedy)
    space = f", namespace {settings.namespace}" if settings.namespace else ""
    return ok(name, f"{settings.url}{space}")


def image(settings: Settings) -> Finding:
    """Look whether the image of the steps is named so that it stays the same."""
    name, remedy = "image of the steps", "make image && export ROADWORTHY_IMAGE=IMAGE:COMMIT"
    if not settings.image:
        return warning(name, "not named: `roadworthy submit` wants --image then", remedy)
    problem = unpinned(settings.image)
    return missing(name, problem, remedy) if problem else ok(name, settings.image)


def prometheus(settings: Settings) -> Finding:
    """Look whether Prometheus answers a query."""
    name, url = "Prometheus", settings.prometheus_url
    remedy = "export ROADWORTHY_PROMETHEUS_URL=http://PROMETHEUS:9090"
    if not url:
        return warning(
            name,
            "not named, so versions on a cluster are judged by their golden batch alone",
            remedy,
        )
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/api/v1/query",
            params={"query": "vector(1)"},
            timeout=_SECONDS,
        )
        answered = answer.raise_for_status().json().get("status") == "success"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as error:
        return missing(name, f"{url} answers no query ({error})", remedy)
    if not answered:
        return missing(name, f"{url} answers, but not as Prometheus", remedy)
    return ok(name, f"{url} answers queries")


def _tip(remote: str, branch: str, access: Access) -> str:
    """Return the commit of the remote's branch, or nothing if it has no such branch."""
    _reach(remote)
    slow = ("-c", "http.lowSpeedLimit=1", "-c", f"http.lowSpeedTime={_SECONDS}")
    asked = ("ls-remote", "--", remote, f"refs/heads/{branch}")
    return git.git(*slow, *asked, access=access)


def _reach(url: str) -> None:
    """Raise OSError where nothing listens: Git would wait for minutes, and cannot be told not to.

    Where a proxy stands between, it is left to Git.
    """
    address = urlsplit(url)
    host = address.hostname or ""
    if address.scheme not in _PORTS or not host:
        return
    if address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    port = address.port or _PORTS[address.scheme]
    socket.create_connection((host, port), _SECONDS).close()
