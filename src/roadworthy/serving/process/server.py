"""Starts a model server: uvicorn and gRPC in one event loop, over one model store."""

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
from roadworthy.serving.http.connection import Connection, Load, expire, raise_file_limit
from roadworthy.serving.http.guard import Guard
from roadworthy.serving.http.model_routes import ModelRoutes
from roadworthy.serving.http.openapi import document
from roadworthy.serving.http.repository import Repository
from roadworthy.serving.models.circuit_breaker import BreakerLimits
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import ModelStore, ModelVersions, Watcher, fixed
from roadworthy.serving.models.traffic import Traffic
from roadworthy.serving.process import worker_status
from roadworthy.serving.process.siblings import accept_from, accept_waiting
from roadworthy.serving.process.workers import WorkerRegistry
from roadworthy.serving.settings import (
    LOG_FORMAT,
    LOG_TIMES,
    ServerError,
    ServerSettings,
    UsageError,
    check,
    listen,
    listen_for_metrics,
)

__all__ = ["ServerError", "ServerSettings", "UsageError", "serve"]

_TICK_SECONDS = 0.1
_LAST_SECONDS = 0.3
"""How long clients that have connected may take to send a last request before a stop."""

log = logging.getLogger(__name__)


def say(line: str) -> None:
    """Write a line to standard output, and flush it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(
    settings: ServerSettings,
    announce: Callable[[str], object] = say,
    listeners: Sequence[socket.socket] = (),
    ready: Callable[[], object] = lambda: None,
    worker: int = 0,
) -> None:
    """Serve until SIGINT or SIGTERM, then answer the requests in flight and return.

    On SIGUSR1 it leaves its place to another server at the same socket: it takes no more
    connections, and closes each open one after one more response, so that no request is lost.

    Parameters
    ----------
    settings
        The settings.
    announce
        Called with one line when the models are loaded.
    listeners
        Listening sockets, which are closed at the end: the server's own, then those of its
        siblings, which it accepts connections from when they do not.
    ready
        Called when the server answers.
    worker
        The number of this process among several workers; 0 for a single process.

    Raises
    ------
    ServerError
        The server cannot start: the port is in use, or a directory does not exist.
    BundleError
        The bundle of ``settings.bundle`` is refused. One of a routing file is only logged.
    """
    _configure_logging(settings.log_level, worker if settings.workers > 1 else 0)
    check(settings)
    registry = WorkerRegistry(settings.metrics_dir if worker else None, worker)
    try:
        registry.write({})
    except OSError as error:
        raise ServerError(
            f"The server cannot write to {settings.metrics_dir} ({error}). "
            f"Free some space, or name another directory with --metrics-dir."
        ) from error
    with ExitStack() as stack:
        own, *others = [stack.enter_context(one) for one in listeners or listen(settings)]
        server = Server(settings, own, ready, registry, others, shares_ports=bool(listeners))
        with _signals(server), _loaded(settings, server.store) as watcher:
            server.repository.watcher = watcher
            announce(_greeting(own, server.store))
            server.run()


class Server:
    """A model server.

    Parameters
    ----------
    settings
        The settings.
    listener
        The socket to accept connections from.
    ready
        Called when it answers.
    registry
        What this process and its siblings have loaded.
    others
        The sockets of its siblings.
    shares_ports
        Whether siblings listen at its port for gRPC as well.

    Attributes
    ----------
    store
        The loaded versions.
    repository
        Loads and unloads them on request.
    """

    def __init__(
        self,
        settings: ServerSettings,
        listener: socket.socket,
        ready: Callable[[], object],
        registry: WorkerRegistry,
        others: Sequence[socket.socket],
        *,
        shares_ports: bool,
    ) -> None:
        self.store = _RegisteredStore(
            registry, BreakerLimits(settings.challenger_seconds, settings.challenger_failures)
        )
        self.repository = Repository(self.store)
        self._settings = settings
        self._listener = listener
        self._shares_ports = shares_ports
        protocols = 1 if settings.grpc_port is None else 2
        self._load = Load(most_connections=max(raise_file_limit() // protocols, 1))
        self._metrics = Metrics(self.store, lambda: self._load.in_flight)
        self._load.refused = self._metrics.refused
        self._traffic = Traffic(self._metrics)
        self._uvicorn = _Uvicorn(
            uvicorn_config(settings, self._application(registry), self._load),
            ready=ready,
            store=self.store,
            drain_seconds=settings.drain_seconds,
            others=others,
        )

    def run(self) -> None:
        """Answer requests until a signal."""
        self._uvicorn.grpc = self._grpc()
        # uvicorn uses these sockets instead of the address in its configuration
        self._uvicorn.run(sockets=[self._listener, *listen_for_metrics(self._settings)])

    def stop(self, sig: int) -> None:
        """Handle a signal that arrives before or after uvicorn handles signals.

        uvicorn raises its signal again when it has stopped; there is nothing left to do then.
        """
        if not self._uvicorn.started:
            raise SystemExit(0)
        if sig == signal.SIGUSR1:
            self._uvicorn.leave()
            return
        log.info("Stopped by %s.", signal.Signals(sig).name)

    def _grpc(self) -> Companion | None:
        if self._settings.grpc_port is None:
            return None
        # imported late: it takes time and memory
        from roadworthy.serving.http.grpc import GRPCServer

        return GRPCServer(
            self._settings,
            store=self.store,
            traffic=self._traffic,
            repository=self.repository,
            load=self._load,
            shared=self._shares_ports,
        )

    def _application(self, registry: WorkerRegistry) -> Guard:
        """Return the whole HTTP application.

        The routes to models are around Starlette's application, not inside: its layers would take a
        tenth of a prediction's time.
        """
        settings = self._settings
        app = application(
            store=self.store,
            repository=self.repository,
            workers=partial(worker_status.all_statuses, registry),
            document=lambda: document(
                self.store.models,
                max_rows=settings.max_rows,
                has_token=settings.token is not None,
                has_page=settings.client is not None,
            ),
            page=settings.client,
        )
        routes = ModelRoutes(
            app,
            store=self.store,
            limits=settings,
            traffic=self._traffic,
            metrics=self._metrics,
            page=settings.client is not None,
        )
        return Guard(
            routes,
            token=settings.token,
            metrics_port=settings.metrics_port,
            origins=settings.cors_origins,
            stopping=lambda: self.store.stopping,
            refused=self._metrics.refused,
        )


def uvicorn_config(settings: ServerSettings, app: Guard, load: Load) -> uvicorn.Config:
    """Return uvicorn's configuration, with the limits of the settings."""
    return uvicorn.Config(
        app,
        http=partial(Connection, limits=settings, load=load),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=settings.grace_seconds,
        server_header=False,
        proxy_headers=False,
    )


class _RegisteredStore(ModelStore):
    """A model store that registers what it has loaded."""

    def __init__(self, registry: WorkerRegistry, limits: BreakerLimits) -> None:
        super().__init__(limits)
        self._registry = registry
        self._writing = threading.Lock()

    def put(self, model: ModelVersions) -> None:
        super().put(model)
        with self._writing:
            try:
                self._registry.write(
                    {name: worker_status.status(one) for name, one in self.models.items()}
                )
            except OSError as error:
                message = "The loaded versions could not be written (%s): a rollout waits for this."
                log.error(message, error)  # noqa: TRY400 - a traceback adds nothing


class Companion(Protocol):
    """A server of another protocol, which starts and stops with uvicorn."""

    @property
    def is_quiet(self) -> bool:
        """Whether no request has arrived for a while."""

    async def start(self) -> None:
        """Start to answer."""

    def stop_listening(self) -> None:
        """Take no more connections."""

    async def stop(self) -> None:
        """Answer the requests in flight, and no more."""


class _Uvicorn(uvicorn.Server):
    """uvicorn, which reports when it answers, drains, and can leave its place to a successor.

    On SIGTERM it is first not ready for some seconds, and still answers.

    When uvicorn stops, it closes idle connections and resets those not accepted yet; a client that
    sends a request in that instant gets no response. This server first accepts what waits, and for
    a moment answers once more on each connection, with ``connection: close``. One that has a
    successor does so until all clients have gone there.
    """

    grpc: Companion | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        ready: Callable[[], object],
        store: ModelStore,
        drain_seconds: float,
        others: Sequence[socket.socket],
    ) -> None:
        super().__init__(config)
        self._others = others
        self._ready = ready
        self._store = store
        self._drain_seconds = drain_seconds
        self._drains = False
        self._leaves = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._accepting: asyncio.Task[None] | None = None

    def leave(self) -> None:
        self._leaves = True
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._leaves = False
        self._store.stopping = True
        if self._drain_seconds and sig == signal.SIGTERM and self._loop and not self._drains:
            self._drains = True
            self._close_after_next_response()
            stop = partial(super().handle_exit, sig, frame)
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, stop)
            return
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self.grpc is not None:
            await self.grpc.start()
        await super().startup(sockets)
        connections = cast("set[Connection]", self.server_state.connections)
        expire(connections, self._loop)
        if self.started:
            self._ready()
            self._accepting = asyncio.create_task(accept_from(self._others, self._connect))

    def _connect(self) -> asyncio.Protocol:
        """Return the protocol of a connection, as uvicorn's startup makes it."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
        if self._leaves:
            await self._leave()
        stopping = [self._stop(sockets)]
        if self.grpc is not None:
            stopping.append(self.grpc.stop())
        await asyncio.gather(*stopping)

    async def _stop(self, sockets: list[socket.socket] | None) -> None:
        """Answer those who have connected, then close."""
        self._close_after_next_response()
        if not self._leaves:
            await accept_waiting(sockets or (), self._connect)
        for server in self.servers:
            server.close()
        if self.server_state.connections:
            await asyncio.sleep(_LAST_SECONDS)
        await super().shutdown(sockets)

    def _close_after_next_response(self) -> None:
        """Send clients elsewhere before connections end, so that no request meets a closed one."""
        close = (b"connection", b"close")
        if close in self.server_state.default_headers:
            return
        self.server_state.default_headers = [*self.server_state.default_headers, close]
        # uvicorn makes the headers anew from these once a second
        self.config.encoded_headers = [*self.config.encoded_headers, close]

    async def _leave(self) -> None:
        """Wait until clients have gone to the successor, at most for the idle time-out."""
        for server in self.servers:
            server.close()
        if self.grpc is not None:
            self.grpc.stop_listening()
        self._close_after_next_response()
        state = self.server_state
        end = time.monotonic() + self.config.timeout_keep_alive
        # after the first sleep, a connection that was just accepted is among the others
        await asyncio.sleep(_TICK_SECONDS)
        while self._leaves and time.monotonic() < end:
            if not state.connections and (self.grpc is None or self.grpc.is_quiet):
                break
            await asyncio.sleep(_TICK_SECONDS)


@contextmanager
def _signals(server: Server) -> Iterator[None]:
    """Handle signals by the server, and restore the handlers before at the end."""
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
def _loaded(settings: ServerSettings, store: ModelStore) -> Iterator[Watcher | None]:
    """Load the bundle, or the versions of the routing files, which are then watched."""
    if settings.bundle is not None and settings.version is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        store.put(fixed(settings.bundle, settings.version, now))
        yield None
        return
    assert settings.routing is not None  # noqa: S101 - the settings require one of both
    watcher = Watcher(store, settings.routing, settings.poll_seconds)
    watcher.poll()
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def _greeting(listener: socket.socket, store: ModelStore) -> str:
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    champions = [
        f"{model.name} version {model.champion.version}"
        for model in store.models.values()
        if model.champion is not None
    ]
    return f"Roadworthy serves {', '.join(champions) or 'nothing yet'} on http://{address}/"


def _configure_logging(level: str, worker: int) -> None:
    """Log to standard error: warnings only of uvicorn, and no line per request."""
    form = LOG_FORMAT.replace("%(message)s", f"worker {worker}: %(message)s")
    logging.basicConfig(format=form if worker else LOG_FORMAT, datefmt=LOG_TIMES)
    logging.getLogger("roadworthy").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # uvicorn composes a line per request if this logger has any handler
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
