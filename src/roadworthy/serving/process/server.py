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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Any, Protocol, cast

import uvicorn
from fastapi import FastAPI
from kserve import ModelRepository, ModelServer
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady
from kserve.model_server import app as kserve_app
from kserve.protocol.rest.server import RESTServer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from roadworthy.serving.http.connection import Connection, ConnectionLimits, Load, expire
from roadworthy.serving.http.front import Front, Limits
from roadworthy.serving.http.guard import Guard
from roadworthy.serving.http.kserve_model import RoadDataPlane, RoadModel
from roadworthy.serving.http.openapi import document
from roadworthy.serving.http.page import Page, PageMount
from roadworthy.serving.http.repository import RoadRepository
from roadworthy.serving.models.circuit_breaker import Patience
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import Fleet, Held, Watcher, fixed
from roadworthy.serving.models.rejection import RETRY_SECONDS, Rejection
from roadworthy.serving.models.traffic import Traffic
from roadworthy.serving.process import loaded
from roadworthy.serving.process.neighbours import attend
from roadworthy.serving.process.workers import Board
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
    listeners: Sequence[socket.socket] = (),
    ready: Callable[[], object] = lambda: None,
    worker: int = 0,
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
    listeners
        Sockets that listen already, to take requests from, and are closed in the end: first its
        own, then those of the processes it serves with, which it attends to when they do not.
    ready
        Called when the server answers.
    worker
        The number of this process among those that serve together; 0 if it serves alone.

    Raises
    ------
    ServerError
        The server cannot start: the port is taken, or a directory is not there.
    BundleError
        The bundle that is to be served is refused. One on a road is only logged.
    """
    _configure_logging(settings.log_level, worker if settings.workers > 1 else 0)
    check(settings)
    board = Board(settings.metrics_dir, worker) if worker else Board(None)
    try:
        board.write({})
    except OSError as error:
        raise ServerError(
            f"There is no writing what is held in {settings.metrics_dir} ({error}). "
            f"Make space there, or name another directory with --metrics-dir."
        ) from error
    with ExitStack() as stack:
        taken, *others = [stack.enter_context(one) for one in listeners or listen(settings)]
        server = RoadServer(settings, taken, ready, board, others)
        server.shares_ports = bool(listeners)
        with _signals(server), _loaded(settings, server.fleet) as watcher:
            server.model_repository_extension.watcher = watcher
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
    board
        Where it tells what it holds, and finds what the processes hold that it serves with.
    others
        The sockets of those processes.

    Attributes
    ----------
    fleet
        The versions that are held; each model in it is registered with KServe when it is new.
    load
        How much its connections ask for at the moment.
    shares_ports
        Whether other processes of this server listen at its port for gRPC as well.
    """

    shares_ports = False

    def __init__(
        self,
        settings: ServerSettings,
        listener: socket.socket,
        ready: Callable[[], object] = lambda: None,
        board: Board | None = None,
        others: Sequence[socket.socket] = (),
    ) -> None:
        port = listener.getsockname()[1]
        super().__init__(
            http_port=port,
            registered_models=ModelRepository(),
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=settings.grace_seconds,
        )
        self._board = board or Board(None)
        patience = Patience(settings.challenger_seconds, settings.challenger_failures)
        self.fleet = _ToldFleet(self._discovered, self._board, patience)
        self.load = Load()
        self.metrics = Metrics(self.fleet, lambda: self.load.in_flight)
        self.load.refused = self.metrics.refused
        self.traffic = Traffic(self.metrics)
        self.dataplane = RoadDataPlane(self.registered_models, self.fleet)
        self.model_repository_extension = RoadRepository(self.registered_models, self.fleet)
        self._settings = settings
        self._listener = listener
        self._ready = ready
        self._others = others

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
        limit_connections(rest.config, self._settings, self.load)
        rest.prepare = self._prepare
        rest.ready = self._ready
        rest.leaving = self._leave
        rest.drain_seconds = self._settings.drain_seconds
        rest.beside = self._grpc()
        rest.others = self._others
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

    def _document(self) -> dict[str, Any]:
        settings = self._settings
        return document(
            self.fleet.held,
            max_rows=settings.max_rows,
            has_token=settings.token is not None,
            has_page=settings.client is not None,
        )

    def _leave(self) -> None:
        self.fleet.leaving = True

    def _grpc(self) -> Beside | None:
        """Return KServe's gRPC server, when there is to be one: it takes a while to import."""
        if self._settings.grpc_port is None:
            return None
        from roadworthy.serving.http.grpc import RoadGRPCServer

        return RoadGRPCServer(
            self._settings,
            self.dataplane,
            self.model_repository_extension,
            load=self.load,
            shared=self.shares_ports,
        )

    def _discovered(self, name: str) -> None:
        self.register_model(RoadModel(name, self.fleet, self.traffic, self._settings.max_rows))

    def _prepare(self, app: FastAPI) -> Guard:
        """Return KServe's application behind our front, with the page and our errors on it.

        The front is around the application, not one of its middlewares: FastAPI's own layers, which
        a prediction needs none of, would cost a tenth of its time.
        """
        client = self._settings.client
        loaded.add_route(app, self._board)
        if client is not None:
            app.router.routes.append(PageMount("/", Page(directory=client, html=True)))
        for error, status in _REFUSALS.items():
            app.add_exception_handler(error, _handler(status))
        app.add_exception_handler(HTTPException, _http_error)
        app.add_exception_handler(Rejection, _rejected)
        app.router.routes.append(self.model_repository_extension.route)
        app.openapi = self._document  # type: ignore[method-assign]
        front = Front(
            app,
            fleet=self.fleet,
            limits=Limits(self._settings.max_body_bytes, self._settings.max_rows),
            traffic=self.traffic,
            metrics=self.metrics,
            page=client is not None,
        )
        return Guard(
            front,
            token=self._settings.token,
            origins=self._settings.cors_origins,
            leaving=lambda: self.fleet.leaving,
            refused=self.metrics.refused,
        )


def limit_connections(config: uvicorn.Config, settings: ServerSettings, load: Load) -> None:
    """Have uvicorn's connections keep the limits of the settings, and do no more than we use."""
    limits = ConnectionLimits(
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_body_bytes=settings.max_body_bytes,
        max_in_flight=settings.max_in_flight,
        request_seconds=settings.request_seconds,
    )
    config.http = partial(Connection, limits=limits, load=load)  # type: ignore[assignment]
    config.ws = "none"
    config.timeout_keep_alive = settings.idle_seconds
    config.server_header = False
    config.proxy_headers = False


class _ToldFleet(Fleet):
    """A fleet that tells on a board what it holds."""

    def __init__(
        self, discovered: Callable[[str], object], board: Board, patience: Patience
    ) -> None:
        super().__init__(discovered, patience)
        self._board = board
        self._telling = threading.Lock()

    def hold(self, held: Held) -> None:
        super().hold(held)
        with self._telling:
            try:
                self._board.write({name: loaded.told(held) for name, held in self.held.items()})
            except OSError as error:
                told = "What is held could not be told (%s): a rollout waits for that."
                logging.getLogger(__name__).error(told, error)  # noqa: TRY400 - a trace says no more


class _RestServer(RESTServer):  # type: ignore[misc]
    """KServe's REST server, whose application is prepared further before it starts."""

    prepare: Callable[[FastAPI], Guard]
    ready: Callable[[], object]
    leaving: Callable[[], object]
    drain_seconds: float
    beside: Beside | None = None
    others: Sequence[socket.socket] = ()

    @property
    def serves(self) -> bool:
        return bool(self._server.started)

    def leave(self) -> None:
        """Leave to another server, without losing a request."""
        self._server.leave()

    def create_application(self) -> None:
        super().create_application()
        self.config.app = self.prepare(kserve_app)
        self._server = _Uvicorn(self.config, self.ready, self.leaving, self.drain_seconds)
        self._server.beside = self.beside
        self._server.others = self.others


class Beside(Protocol):
    """Another server, that starts and stops with uvicorn."""

    async def start(self) -> None:
        """Answer from now on."""

    async def stop(self) -> None:
        """Answer what was asked, and no more."""


class _Uvicorn(uvicorn.Server):
    """uvicorn, which tells when it answers, and can leave to another server.

    Told by SIGTERM to stop, it first says for a while that it is not ready, and still answers.

    When it stops, uvicorn closes the connections that are idle; a client that sends its next
    request in that instant gets no answer. That is right for a server that goes for good. One that
    has a successor instead answers each connection once more, telling that it is the last time.
    """

    beside: Beside | None = None
    others: Sequence[socket.socket] = ()

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], object],
        leaving: Callable[[], object],
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._leaving = leaving
        self._drain_seconds = drain_seconds
        self._drains = False
        self._leaves = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attending: asyncio.Task[None] | None = None

    def leave(self) -> None:
        self._leaves = True
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._leaves = False
        self._leaving()
        if self._drain_seconds and sig == signal.SIGTERM and self._loop and not self._drains:
            self._drains = True
            stop = partial(super().handle_exit, sig, frame)
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, stop)
            return
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self.beside is not None:
            await self.beside.start()
        await super().startup(sockets)
        connections = cast("set[Connection]", self.server_state.connections)
        expire(connections, self._loop)
        if self.started:
            self._ready()
            self._attending = asyncio.create_task(attend(self.others, self._connect))

    def _connect(self) -> asyncio.Protocol:
        """Return what answers a connection, as uvicorn's own startup makes it."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._attending is not None:
            self._attending.cancel()
        beside = None if self.beside is None else asyncio.ensure_future(self.beside.stop())
        if self._leaves:
            await self._take_leave()
        await super().shutdown(sockets)
        if beside is not None:
            await beside

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


def _rejected(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Rejection):
        raise error
    return JSONResponse(error.document, error.status, dict(error.headers))


def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    sentence = f"{request.method} {request.url.path}: {error.detail}."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


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
def _loaded(settings: ServerSettings, fleet: Fleet) -> Iterator[Watcher | None]:
    """Load what is to be served, and go on looking for more if there is a road."""
    if settings.bundle is not None and settings.version is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fleet.hold(fixed(settings.bundle, settings.version, now))
        yield None
        return
    assert settings.road is not None  # noqa: S101 - the settings demand one of both
    watcher = Watcher(fleet, settings.road, settings.poll_seconds)
    watcher.look()
    watcher.start()
    try:
        yield watcher
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


def _configure_logging(level: str, worker: int) -> None:
    """Log to standard error; KServe and uvicorn only what matters, and no line per request."""
    form = LOG_FORMAT.replace("%(message)s", f"worker {worker}: %(message)s")
    logging.basicConfig(format=form if worker else LOG_FORMAT, datefmt=LOG_TIMES)
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
