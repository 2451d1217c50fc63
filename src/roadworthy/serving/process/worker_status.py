"""The versions of a model that each process of a server has loaded.

``GET /v2/models/NAME/workers`` returns them, whichever process answers. A rollout waits until every
process has loaded a version. A process that starts has an empty entry before it reads routing
files, so a version in every entry is loaded by every process that can answer.
"""

from __future__ import annotations

from typing import Any

from roadworthy.serving.models.model_store import ModelVersions
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.process.workers import WorkerRegistry

_NOTHING: dict[str, Any] = {"versions": {}, "split": [], "state": ""}


def status(model: ModelVersions) -> dict[str, Any]:
    """Return the status of a model in one process.

    ``versions`` has the digest of each version's bundle, ``split`` the version, role and traffic
    weight of each, and ``state`` is the state of the rollout, or empty.
    """
    return {
        "versions": {number: one.release.digest for number, one in model.versions.items()},
        "split": [part.to_dict() for part in model.split],
        "state": model.state,
    }


def all_statuses(registry: WorkerRegistry, model: str) -> dict[str, Any]:
    """Return the :func:`status` of a model in every process, with its number and process id.

    Raises
    ------
    Rejection
        404 if no process knows the model.
    """
    found = registry.read()
    if not any(model in one["models"] for one in found):
        raise Rejection(404, f"There is no model {model[:100]!r} here.")
    workers = [
        {key: one[key] for key in ("worker", "process")} | one["models"].get(model, _NOTHING)
        for one in found
    ]
    return {"model": model, "workers": workers}
