"""Starts a model server: uvicorn with our connections, and gRPC beside it, over one model store."""

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
from typing import Protocol, cast

import uvicorn

from roadworthy.serving.http.app import application
from roadworthy.serving.http.connection import Connection, ConnectionLimits, Load, expire
from roadworthy.serving.http.front import Front, Limits
from roadworthy.serving.http.guard import Guard
from roadworthy.serving.http.openapi import document
from roadworthy.serving.http.repository import Repository
from roadworthy.serving.models.circuit_breaker import Patience
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import Fleet, Held, Watcher, fixed
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

_THEIR_LOGGERS = ("uvicorn", "uvicorn.error")
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
        The bundle that is to be served is refused. One on a routing file is only logged.
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
        server = Server(settings, taken, ready, board, others, shares_ports=bool(listeners))
        with _signals(server), _loaded(settings, server.fleet) as watcher:
            server.repository.watcher = watcher
            announce(_greeting(taken, server.fleet))
            server.run()


class Server:
    """A model server.

    Parameters
    ----------
    settings
        What to serve.
    listener
        The socket to take requests from.
    ready
        Called when it answers.
    board
        Where it tells what it has loaded, and finds what the other processes have.
    others
        The sockets of the processes that serve together with this one.
    shares_ports
        Whether other processes of this server listen at its port for gRPC as well.

    Attributes
    ----------
    fleet
        The versions that are loaded.
    repository
        Loads and unloads them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        listener: socket.socket,
        ready: Callable[[], object],
        board: Board,
        others: Sequence[socket.socket],
        *,
        shares_ports: bool,
    ) -> None:
        patience = Patience(settings.challenger_seconds, settings.challenger_failures)
        self.fleet = _ToldFleet(board, patience)
        self.repository = Repository(self.fleet)
        self._settings = settings
        self._listener = listener
        self._shares_ports = shares_ports
        self._load = Load()
        self._metrics = Metrics(self.fleet, lambda: self._load.in_flight)
        self._load.refused = self._metrics.refused
        self._traffic = Traffic(self._metrics)
        self._uvicorn = _Uvicorn(
            uvicorn_config(settings, self._application(board), self._load),
            ready=ready,
            leaving=self._leave,
            drain_seconds=settings.drain_seconds,
            others=others,
        )

    def run(self) -> None:
        """Take requests until a signal."""
        self._uvicorn.beside = self._grpc()
        # given a socket, uvicorn listens there and looks at no address of its settings
        self._uvicorn.run(sockets=[self._listener])

    def stop(self, sig: int) -> None:
        """Leave at a signal that comes before uvicorn takes them over.

        uvicorn sends its own on to us once it has answered everything: then nothing is left to do.
        """
        if not self._uvicorn.started:
            raise SystemExit(0)
        if sig == signal.SIGUSR1:
            self._uvicorn.leave()
            return
        logging.getLogger(__name__).info("Stopped by %s.", signal.Signals(sig).name)

    def _leave(self) -> None:
        self.fleet.leaving = True

    def _grpc(self) -> Beside | None:
        """Return the server for gRPC, where there is to be one: it takes a while to import."""
        if self._settings.grpc_port is None:
            return None
        from roadworthy.serving.http.grpc import GRPCServer

        return GRPCServer(
            self._settings,
            fleet=self.fleet,
            traffic=self._traffic,
            repository=self.repository,
            load=self._load,
            shared=self._shares_ports,
        )

    def _application(self, board: Board) -> Guard:
        """Return everything that answers over HTTP.

        The front is around the application, not one of its middlewares: Starlette's own layers,
        which a prediction does not need, would cost a tenth of its time.
        """
        settings = self._settings
        app = application(
            fleet=self.fleet,
            repository=self.repository,
            workers=partial(loaded.holdings, board),
            document=lambda: document(
                self.fleet.held,
                max_rows=settings.max_rows,
                has_token=settings.token is not None,
                has_page=settings.client is not None,
            ),
            page=settings.client,
        )
        front = Front(
            app,
            fleet=self.fleet,
            limits=Limits(settings.max_body_bytes, settings.max_rows),
            traffic=self._traffic,
            metrics=self._metrics,
            page=settings.client is not None,
        )
        return Guard(
            front,
            token=settings.token,
            origins=settings.cors_origins,
            leaving=lambda: self.fleet.leaving,
            refused=self._metrics.refused,
        )


def uvicorn_config(settings: ServerSettings, app: Guard, load: Load) -> uvicorn.Config:
    """Return how uvicorn runs: with the limits of the settings, and no more than we use."""
    limits = ConnectionLimits(
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_body_bytes=settings.max_body_bytes,
        max_in_flight=settings.max_in_flight,
        request_seconds=settings.request_seconds,
    )
    return uvicorn.Config(
        app,
        http=partial(Connection, limits=limits, load=load),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=settings.grace_seconds,
        server_header=False,
        proxy_headers=False,
    )


class _ToldFleet(Fleet):
    """A fleet that tells on a board what it holds."""

    def __init__(self, board: Board, patience: Patience) -> None:
        super().__init__(patience)
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

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        ready: Callable[[], object],
        leaving: Callable[[], object],
        drain_seconds: float,
        others: Sequence[socket.socket],
    ) -> None:
        super().__init__(config)
        self._others = others
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
            self._attending = asyncio.create_task(attend(self._others, self._connect))

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


@contextmanager
def _signals(server: Server) -> Iterator[None]:
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
    """Load what is to be served, and go on looking for more if there is a routing directory."""
    if settings.bundle is not None and settings.version is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        fleet.hold(fixed(settings.bundle, settings.version, now))
        yield None
        return
    assert settings.routing is not None  # noqa: S101 - the settings demand one of both
    watcher = Watcher(fleet, settings.routing, settings.poll_seconds)
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
    """Log to standard error; uvicorn only what matters, and no line per request."""
    form = LOG_FORMAT.replace("%(message)s", f"worker {worker}: %(message)s")
    logging.basicConfig(format=form if worker else LOG_FORMAT, datefmt=LOG_TIMES)
    logging.getLogger("roadworthy").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    theirs = logging.DEBUG if level == "debug" else logging.WARNING
    for name in _THEIR_LOGGERS:
        logging.getLogger(name).setLevel(theirs)
    # uvicorn composes a line per request whenever this logger has a handler, however quiet it is
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
