"""What every process of a server holds of a model, for who waits until all hold a version.

``GET /v2/models/NAME/workers`` tells it, whichever process answers. A version that every entry has
is held by every process that may answer a request: one that starts has an entry, with nothing in
it, before it looks at the roads.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from roadworthy.serving.models.model_store import Held
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.process.workers import Board

PATH = "/v2/models/{model_name}/workers"


class Share(BaseModel):
    """A version's part of the requests that ask for no version."""

    version: int
    role: str = Field(description="champion or challenger")
    share: int = Field(description="percent", ge=0, le=100)


class Holding(BaseModel):
    """What one process holds of a model."""

    worker: int = Field(description="the process's number, from 1")
    process: int = Field(description="its id")
    versions: dict[str, str] = Field(description="the digest of each version's bundle")
    split: list[Share]
    state: str = Field(description="how far a rollout is, empty while there is none")


class Holdings(BaseModel):
    """What every process holds of a model."""

    model: str
    workers: list[Holding]


def add_route(app: FastAPI, board: Board) -> None:
    """Have an application tell what is on a board."""

    def workers(model_name: str) -> Holdings:
        return holdings(board, model_name)

    app.add_api_route(
        PATH,
        workers,
        methods=["GET"],
        tags=["V2"],
        summary="What every process holds of a model",
        response_model=Holdings,
        responses={404: {"description": "No process knows the model."}},
    )


def told(held: Held) -> dict[str, Any]:
    """Return what one process tells of a model that it holds."""
    return {
        "versions": {number: served.release.digest for number, served in held.versions.items()},
        "split": [
            {"version": part.served.version, "role": part.role, "share": part.share}
            for part in held.split
        ],
        "state": held.state,
    }


def holdings(board: Board, model: str) -> Holdings:
    """Return what every process holds of a model.

    Raises
    ------
    Rejection
        404 if none knows the model.
    """
    found = board.read()
    if not any(model in one["models"] for one in found):
        raise Rejection(404, f"There is no model {model[:100]!r} here.")
    nothing: dict[str, Any] = {"versions": {}, "split": [], "state": ""}
    return Holdings(
        model=model,
        workers=[
            Holding(
                worker=one["worker"],
                process=one["process"],
                **one["models"].get(model, nothing),
            )
            for one in found
        ],
    )
