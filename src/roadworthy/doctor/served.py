"""The model server of this machine, and the page that people open."""

from __future__ import annotations

from pathlib import Path

import httpx

from roadworthy.core.http import connect
from roadworthy.core.settings import Settings
from roadworthy.doctor.finding import Finding, missing, ok, warning
from roadworthy.rollout.local.server import address

_START = "roadworthy serve"


def server(settings: Settings) -> Finding:
    """Look whether a model server serves these roads, and answers."""
    url = _address(settings)
    if not url:
        return warning("model server", f"none serves {settings.home}", _START)
    try:
        with connect(url, settings.token) as client:
            alive = client.get("/v2/health/live")
            listed = client.get("/v2/models").raise_for_status() if alive.is_success else alive
    except httpx.HTTPStatusError as error:
        told = f"{url} lives and answers {error.response.status_code}"
        return missing("model server", told, "read -rs ROADWORTHY_TOKEN && export ROADWORTHY_TOKEN")
    except httpx.HTTPError as error:
        return missing("model server", f"{url} does not answer ({error})", _START)
    if not alive.is_success:
        return missing("model server", f"{url} answers {alive.status_code}", _START)
    models = ", ".join(sorted(listed.json().get("models", []))) or "no model"
    return ok("model server", f"{url}, serving {models}")


def page(settings: Settings, directory: Path) -> Finding:
    """Look whether the page is there: from the server if one runs, else in the clone."""
    from roadworthy.data.git import inspect_root

    url = _address(settings)
    if url:
        try:
            with connect(url) as client:
                shown = client.get("/", headers={"accept": "text/html"})
        except httpx.HTTPError as error:
            return missing("page", f"{url}/ does not answer ({error})", _START)
        if shown.is_success and shown.headers.get("content-type", "").startswith("text/html"):
            return ok("page", f"{url}/")
        return warning("page", f"{url}/ answers {shown.status_code} and no page", _START)
    index = inspect_root(directory) / "inference-client" / "index.html"
    if index.is_file():
        return ok("page", f"{index.parent}, served by `{_START}`")
    return missing("page", f"{index} is not there", "git checkout -- inference-client")


def _address(settings: Settings) -> str:
    """Return the address of the server, without a trace where there never was one."""
    if "serving_url" in settings.model_fields_set or (settings.home / "server.lock").is_file():
        return address(settings)
    return ""
