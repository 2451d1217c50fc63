"""The paths of KServe's protocols other than requests to a model.

Requests to a model are answered by :mod:`roadworthy.serving.http.model_routes`.
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
from roadworthy.serving.models.model_store import ModelStore
from roadworthy.serving.models.rejection import Rejection, unavailable

NAME = "kserve"
"""The server's name in its metadata: that of the runtimes whose protocols it speaks."""
EXTENSIONS = ("binary_tensor_data", "model_repository_extension")


def metadata() -> dict[str, Any]:
    """Return the V2 metadata of the server."""
    return {"name": NAME, "version": version(NAME), "extensions": list(EXTENSIONS)}


def application(
    *,
    store: ModelStore,
    repository: Repository,
    workers: Callable[[str], dict[str, Any]],
    document: Callable[[], dict[str, Any]],
    page: Path | None,
) -> Starlette:
    """Return the application.

    Parameters
    ----------
    store
        The models.
    repository
        Loads and unloads them.
    workers
        Returns the versions of a model that each process has loaded.
    document
        Returns the OpenAPI document.
    page
        The directory of static files for ``/``.
    """

    def models(_: Request) -> dict[str, Any]:
        return {"models": list(store.models)}

    def server_ready(_: Request) -> dict[str, Any]:
        if not store.ready:
            raise unavailable("No model is ready: retry later.")
        return {"ready": True}

    async def load(request: Request) -> JSONResponse:
        name = request.path_params["model"]
        await repository.load(name)
        return JSONResponse({"name": name, "load": True})

    async def unload(request: Request) -> JSONResponse:
        name = request.path_params["model"]
        await repository.unload(name)
        return JSONResponse({"name": name, "unload": True})

    documents: dict[str, Callable[[Request], dict[str, Any]]] = {
        "/": lambda _: {"status": "alive"},
        "/v1/models": models,
        "/v2": lambda _: metadata(),
        "/v2/health/live": lambda _: {"live": True},
        "/v2/health/ready": server_ready,
        "/v2/models": models,
        "/v2/models/{model}/workers": lambda request: workers(request.path_params["model"]),
        "/openapi.json": lambda _: document(),
    }
    routes: list[BaseRoute] = [
        *(_get(path, make) for path, make in documents.items()),
        Route("/v2/repository/index", repository.index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", unload, methods=["POST"]),
    ]
    if page is not None:
        routes.append(PageMount("/", Page(directory=page, html=True)))
    handlers: dict[Any, Any] = {HTTPException: _http_error, Rejection: _rejected}
    return Starlette(routes=routes, exception_handlers=handlers)


def _get(path: str, make: Callable[[Request], dict[str, Any]]) -> Route:
    async def respond(request: Request) -> JSONResponse:
        return JSONResponse(make(request))

    return Route(path, respond)


async def _rejected(_: Request, error: Rejection) -> JSONResponse:
    return JSONResponse(error.document, error.status, dict(error.headers))


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    sentence = f"{request.method} {request.url.path}: {error.detail}."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)
