"""The addresses of KServe's protocols that are not about the requests to a model.

What is asked of a model is answered by :mod:`roadworthy.serving.http.front`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from roadworthy.serving.http.page import Page, PageMount
from roadworthy.serving.http.repository import Repository
from roadworthy.serving.models.model_store import Fleet
from roadworthy.serving.models.rejection import RETRY_SECONDS, Rejection
from roadworthy.serving.models.traffic import find

NAME = "kserve"
"""The server's name in its metadata: that of the runtimes whose protocols it speaks."""
EXTENSIONS = ("model_repository_extension",)


def metadata() -> dict[str, Any]:
    """Return the V2 metadata of the server."""
    return {"name": NAME, "version": version(NAME), "extensions": list(EXTENSIONS)}


def application(
    *,
    fleet: Fleet,
    repository: Repository,
    workers: Callable[[str], dict[str, Any]],
    document: Callable[[], dict[str, Any]],
    page: Path | None,
) -> Starlette:
    """Return the application.

    Parameters
    ----------
    fleet
        The models.
    repository
        Loads and unloads them.
    workers
        Returns what every process of the server has loaded of a model.
    document
        Returns the OpenAPI document.
    page
        The directory of static files for ``/``.
    """

    def models(_: Request) -> dict[str, Any]:
        return {"models": list(fleet.held)}

    def server_ready(_: Request) -> dict[str, Any]:
        if not fleet.ready:
            raise _not_ready("No model is ready")
        return {"ready": True}

    def model_ready(request: Request) -> dict[str, Any]:
        held = find(fleet, request.path_params["model"])
        if held.champion is None:
            raise _not_ready(f"{held.model} is not ready")
        return {"name": held.model, "ready": True}

    async def load(request: Request) -> JSONResponse:
        name = request.path_params["model"]
        await repository.load(name)
        return JSONResponse({"name": name, "load": True})

    async def unload(request: Request) -> JSONResponse:
        name = request.path_params["model"]
        await repository.unload(name)
        return JSONResponse({"name": name, "unload": True})

    told: dict[str, Callable[[Request], dict[str, Any]]] = {
        "/": lambda _: {"status": "alive"},
        "/v1/models": models,
        "/v1/models/{model}": model_ready,
        "/v2": lambda _: metadata(),
        "/v2/health/live": lambda _: {"live": True},
        "/v2/health/ready": server_ready,
        "/v2/models": models,
        "/v2/models/{model}/workers": lambda request: workers(request.path_params["model"]),
        "/openapi.json": lambda _: document(),
    }
    routes: list[BaseRoute] = [
        *(_get(path, tell) for path, tell in told.items()),
        Route("/v2/repository/index", repository.index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", unload, methods=["POST"]),
    ]
    if page is not None:
        routes.append(PageMount("/", Page(directory=page, html=True)))
    handlers: dict[Any, Any] = {HTTPException: _http_error, Rejection: _rejected}
    return Starlette(routes=routes, exception_handlers=handlers)


def _get(path: str, tell: Callable[[Request], dict[str, Any]]) -> Route:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(tell(request))

    return Route(path, answer)


def _not_ready(what: str) -> Rejection:
    return Rejection(503, f"{what}: ask again later.", headers={"retry-after": RETRY_SECONDS})


async def _rejected(_: Request, error: Rejection) -> JSONResponse:
    return JSONResponse(error.document, error.status, dict(error.headers))


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    sentence = f"{request.method} {request.url.path}: {error.detail}."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)
