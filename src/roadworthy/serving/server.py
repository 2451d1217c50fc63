"""Starts KServe's model server, with our models in its repository and our front on its application.

What KServe decides for its users and we decide otherwise is here: the address it listens at, when
it is ready, how it says no, and how much it talks.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from kserve import ModelRepository, ModelServer
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady
from kserve.metrics import PREDICT_HIST_TIME
from kserve.model_server import app as kserve_app
from kserve.protocol.rest.server import RESTServer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from roadworthy.serving.fleet import Fleet, Watcher, fixed
from roadworthy.serving.front import RETRY_SECONDS, Front, Limits
from roadworthy.serving.model import RoadDataPlane, RoadModel, RoadRepository
from roadworthy.serving.page import Page, PageMount
from roadworthy.serving.settings import (
    LOG_FORMAT,
    LOG_TIMES,
    ServerError,
    ServerSettings,
    UsageError,
    check,
    listen,
)

__all__ = ["ServerError", "ServerSettings", "UsageError", "serve"]

_THEIR_LOGGERS = ("kserve", "kserve.trace", "uvicorn", "uvicorn.error")
_WARNINGS = "py.warnings"
_TICK_SECONDS = 0.1


def say(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(
    settings: ServerSettings,
    announce: Callable[[str], object] = say,
    listener: socket.socket | None = None,
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is being answered and return.

    SIGUSR1 makes it leave to another server that listens at the same socket: it takes no more
    connections, and closes each one it has after one more answer, so that no request is lost.

    Parameters
    ----------
    settings
        What to serve, and where.
    announce
        Called with one line when everything is loaded and the server is about to answer.
    listener
        A socket that listens already, to take requests from; it is closed in the end.
    ready
        Called when the server answers.

    Raises
    ------
    ServerError
        The server cannot start: the port is taken, or a directory is not there.
    BundleError
        The bundle that is to be served is refused. One on a road is only logged.
    """
    _configure_logging(settings.log_level)
    check(settings)
    with listener or listen(settings) as taken:
        server = RoadServer(settings, taken, ready)
        with _signals(server), _loaded(settings, server.fleet):
            announce(_greeting(taken, server.fleet))
            server.start([])


class RoadServer(ModelServer):  # type: ignore[misc]
    """KServe's model server over a fleet.

    Parameters
    ----------
    settings
        What to serve.
    listener
        The socket to take requests from.
    ready
        Called when it answers.

    Attributes
    ----------
    fleet
        The versions that are held; each model in it is registered with KServe when it is new.
    """

    def __init__(
        self,
        settings: ServerSettings,
        listener: socket.socket,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        port = listener.getsockname()[1]
        super().__init__(
            http_port=port,
            registered_models=ModelRepository(),
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=settings.grace_seconds,
        )
        self.fleet = Fleet(self._discovered)
        self.dataplane = RoadDataPlane(self.registered_models, self.fleet)
        self.model_repository_extension = RoadRepository(self.registered_models)
        self._settings = settings
        self._listener = listener
        self._ready = ready

    def start(self, models: list[Any]) -> None:
        """Take requests until a signal. KServe's own start demands a model that is ready."""
        for model in models:
            self.register_model(model)
        rest = _RestServer(
            "kserve.model_server:app",
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=self._settings.grace_seconds,
        )
        rest.prepare = self._prepare
        rest.ready = self._ready
        self._rest_server = rest
        # KServe's RESTServer hard-codes 0.0.0.0. uvicorn looks at that only when it has to bind a
        # socket; given one that is bound to the address we want, it listens there and only there.
        rest.run(sockets=[self._listener])

    def stop(self, sig: int) -> None:
        """Leave at a signal that comes before uvicorn takes them over.

        uvicorn sends its own on to us once it has answered everything: then nothing is left to do.
        """
        if self._rest_server is None or not self._rest_server.serves:
            raise SystemExit(0)
        if sig == signal.SIGUSR1:
            self._rest_server.leave()
            return
        logging.getLogger(__name__).info("Stopped by %s.", signal.Signals(sig).name)

    def _discovered(self, name: str) -> None:
        self.register_model(RoadModel(name, self.fleet, self._settings.max_rows))

    def _prepare(self, app: FastAPI) -> None:
        """Put our front before KServe's routes, the page behind them, and our errors on all."""
        client = self._settings.client
        if client is not None:
            app.router.routes.append(PageMount("/", Page(directory=client, html=True)))
        for error, status in _REFUSALS.items():
            app.add_exception_handler(error, _handler(status))
        app.add_exception_handler(HTTPException, _http_error)
        app.add_middleware(
            Front,
            fleet=self.fleet,
            limits=Limits(self._settings.max_body_bytes, self._settings.max_rows),
            observe=_observe,
            page=client is not None,
        )


class _RestServer(RESTServer):  # type: ignore[misc]
    """KServe's REST server, whose application is prepared further before it starts."""

    prepare: Callable[[FastAPI], None]
    ready: Callable[[], object]

    @property
    def serves(self) -> bool:
        return bool(self._server.started)

    def leave(self) -> None:
        """Leave to another server, without losing a request."""
        self._server.leave()

    def create_application(self) -> None:
        super().create_application()
        self.prepare(kserve_app)
        self._server = _Uvicorn(self.config, self.ready)


class _Uvicorn(uvicorn.Server):
    """uvicorn, which tells when it answers, and can leave to another server.

    When it stops, uvicorn closes the connections that are idle; a client that sends its next
    request in that instant gets no answer. That is right for a server that goes for good. One that
    has a successor instead answers each connection once more, telling that it is the last time.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready
        self._leaves = False

    def leave(self) -> None:
        self._leaves = True
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._leaves = False
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._leaves:
            await self._take_leave()
        await super().shutdown(sockets)

    async def _take_leave(self) -> None:
        """Wait until every connection is closed, at the latest when its idle time is over."""
        for server in self.servers:
            server.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        end = time.monotonic() + self.config.timeout_keep_alive
        # A connection that was accepted just now is among the others after the first sleep.
        await asyncio.sleep(_TICK_SECONDS)
        while self._leaves and state.connections and time.monotonic() < end:
            await asyncio.sleep(_TICK_SECONDS)


_REFUSALS: dict[type[Exception], int] = {
    ModelNotFound: 404,
    ModelNotReady: 503,
    ServerNotReady: 503,
}
"""What is no fault of the server and KServe logs with a stack trace."""


def _handler(status: int) -> Callable[[Request, Exception], JSONResponse]:
    headers = {"retry-after": RETRY_SECONDS} if status == 503 else None

    def handle(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status, headers)

    return handle


def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    sentence = f"{request.method} {request.url.path}: {error.detail}."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


def _observe(model: str, seconds: float) -> None:
    PREDICT_HIST_TIME.labels(model).observe(seconds)


@contextmanager
def _signals(server: RoadServer) -> Iterator[None]:
    """Send signals to the server, and afterwards to whom they went before."""
    before = {
        sign: signal.signal(sign, lambda number, _: server.stop(number))
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextmanager
def _loaded(settings: ServerSettings, fleet: Fleet) -> Iterator[None]:
    """Load what is to be served, and go on looking for more if there is a road."""
    if settings.bundle is not None and settings.version is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fleet.hold(fixed(settings.bundle, settings.version, now))
        yield
        return
    assert settings.road is not None  # noqa: S101 - the settings demand one of both
    watcher = Watcher(fleet, settings.road, settings.poll_seconds)
    watcher.look()
    watcher.start()
    try:
        yield
    finally:
        watcher.stop()


def _greeting(listener: socket.socket, fleet: Fleet) -> str:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    served = [
        f"{held.model} version {held.champion.version}"
        for held in fleet.held.values()
        if held.champion is not None
    ]
    return f"Roadworthy serves {', '.join(served) or 'nothing yet'} on http://{address}/"


def _configure_logging(level: str) -> None:
    """Log to standard error; KServe and uvicorn only what matters, and no line per request."""
    logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIMES)
    logging.getLogger("roadworthy").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    theirs = logging.DEBUG if level == "debug" else logging.WARNING
    for name in _THEIR_LOGGERS:
        logging.getLogger(name).setLevel(theirs)
    # KServe uses what FastAPI advises its developers against, which no user can act upon
    logging.getLogger(_WARNINGS).setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
    # a logger with a handler is one that KServe does not configure its own way
    logging.getLogger("kserve").addHandler(logging.NullHandler())
    # uvicorn composes a line per request whenever this logger has a handler, however quiet it is
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
