"""Look up the champion in MLflow without its client, whose import takes longer than a whole check.

The record of a rollout cannot replace it: the record has no source fingerprint, and an alias that
was moved by hand is noticed only if MLflow is asked.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import httpx

from roadworthy.core.settings import Settings

_CONNECT_SECONDS = 10.0
_QUERY = """
SELECT alias.version, tag.key, tag.value
FROM registered_model_aliases AS alias
LEFT JOIN model_version_tags AS tag
    ON tag.name = alias.name AND tag.version = alias.version
    AND tag.key IN ('source_fingerprint', 'recipe', 'commit')
WHERE alias.name = ? AND alias.alias = 'champion'
"""


class Champion(NamedTuple):
    """The number, the source fingerprint and the commit of a champion; 0 and "" where unknown."""

    number: int = 0
    fingerprint: str = ""
    commit: str = ""


def champion(settings: Settings, model: str) -> Champion:
    """Return the champion; number 0 before the first release.

    If that fails, it asks the registry with MLflow's client.

    Raises
    ------
    RegistryError
        The registry cannot be reached.
    """
    uri = settings.mlflow_tracking_uri
    if not settings.has_registry:
        return Champion()
    # MLflow's client handles other versions' tables and certificates.
    with suppress(sqlite3.Error, httpx.HTTPError, KeyError, ValueError):
        if uri.startswith("sqlite:///"):
            return _of_file(Path(uri.removeprefix("sqlite:///")), model)
        if uri.startswith(("http://", "https://")):
            return _of_server(uri, model)
    from roadworthy.tracking.registry import Registry  # seconds

    found = Registry.of(settings).aliased(model, "champion")
    return Champion() if found is None else _champion(found.number, found.tags)


def _of_file(file: Path, model: str) -> Champion:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute(_QUERY, (model,)).fetchall()
    tags = {key: value for _, key, value in found if key}
    return _champion(int(found[0][0]), tags) if found else Champion()


def _of_server(uri: str, model: str) -> Champion:
    user, token = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "TOKEN"))
    found = httpx.get(
        f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias",
        params={"name": model, "alias": "champion"},
        auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None,
        headers={"Authorization": f"Bearer {token}"} if token and not user else {},
        timeout=_CONNECT_SECONDS,
    )
    version = found.raise_for_status().json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
    return _champion(int(version["version"]), tags)


def _champion(number: int, tags: Mapping[str, str]) -> Champion:
    # The release before named the tag `recipe`.
    fingerprint = tags.get("source_fingerprint") or tags.get("recipe", "")
    return Champion(number, fingerprint, tags.get("commit", ""))
