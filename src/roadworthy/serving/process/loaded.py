"""What every process of a server has loaded of a model.

``GET /v2/models/NAME/workers`` returns it, whichever process answers, for a rollout that waits
until all of them have loaded a version. A version that every entry has is loaded by every process
that may answer a request: one that starts has an entry, with nothing in it, before it reads routes.
"""

from __future__ import annotations

from typing import Any

from roadworthy.serving.models.model_store import Held
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.process.workers import Board


def told(held: Held) -> dict[str, Any]:
    """Return what one process tells of a model that it has loaded.

    ``versions`` has the digest of each version's bundle, ``split`` the version, role and weight in
    percent of each, ``state`` how far a rollout is, empty while there is none.
    """
    return {
        "versions": {number: served.release.digest for number, served in held.versions.items()},
        "split": [part.to_dict() for part in held.split],
        "state": held.state,
    }


def holdings(board: Board, model: str) -> dict[str, Any]:
    """Return what every process has loaded of a model: as :func:`told`, with number and process id.

    Raises
    ------
    Rejection
        404 if none knows the model.
    """
    found = board.read()
    if not any(model in one["models"] for one in found):
        raise Rejection(404, f"There is no model {model[:100]!r} here.")
    nothing: dict[str, Any] = {"versions": {}, "split": [], "state": ""}
    return {
        "model": model,
        "workers": [
            {
                "worker": one["worker"],
                "process": one["process"],
                **one["models"].get(model, nothing),
            }
            for one in found
        ],
    }
