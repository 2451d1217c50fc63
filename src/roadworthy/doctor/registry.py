"""The registry: whether MLflow answers, and which version of each model is its champion."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import httpx

from roadworthy.core.settings import Settings
from roadworthy.doctor.finding import Finding, missing, ok, warning

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Registry

_SECONDS = 5
_ADDRESS = "export ROADWORTHY_MLFLOW_TRACKING_URI=https://MLFLOW.company.example"


def registry(settings: Settings) -> Finding:
    """Look whether MLflow answers, and lets one in."""
    from roadworthy.tracking.registry import Registry, RegistryError

    uri = settings.mlflow_tracking_uri
    if not uri.startswith(("http://", "https://")):
        if not settings.has_registry:
            return warning("registry", f"{uri} is not made yet: the first run does", "make run")
        count = len(Registry.of(settings).models())
        return ok("registry", f"{uri}, {count} model{'' if count == 1 else 's'}")
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/version", timeout=_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return missing("registry", f"{uri} gives no version ({error})", _ADDRESS)
    version = answer.text.strip().strip('"')
    try:
        Registry.of(settings)
    except RegistryError as error:
        return missing("registry", str(error), "export MLFLOW_TRACKING_USERNAME=NAME")
    ours = importlib.metadata.version("mlflow")
    told = f"MLflow {version} at {uri}"
    if version.partition(".")[0] != ours.partition(".")[0]:
        return warning("registry", f"{told}, and ours is {ours}", f"pip install mlflow=={ours}")
    return ok("registry", told)


def champions(settings: Settings) -> Sequence[Finding]:
    """Look which version of each model is the champion, and since when."""
    from roadworthy.models.contract import available
    from roadworthy.tracking.registry import Registry

    registered = Registry.of(settings) if settings.has_registry else None
    known = registered.models() if registered else []
    return [
        _champion(registered, name) if registered and name in known else _none(name)
        for name in sorted({*available(), *known})
    ]


def _champion(registered: Registry, name: str) -> Finding:
    from roadworthy.core.terminal import age

    found = registered.aliased(name, "champion")
    if found is None:
        return _none(name)
    promoted = found.tags.get("promoted_at")
    since = datetime.fromisoformat(promoted) if promoted else found.created
    by = found.tags.get("promoted_by", "")
    told = f"version {found.number}, since {age(since)}{f', by {by}' if by else ''}"
    return ok(f"champion of {name}", told)


def _none(name: str) -> Finding:
    told = "no version was promoted yet"
    return warning(f"champion of {name}", told, f"roadworthy run {name}")
