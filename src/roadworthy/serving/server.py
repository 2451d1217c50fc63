"""Starts KServe's model server, with our models in its repository and our front on its application.

What KServe decides for its users and we decide otherwise is here: the address it listens at, when
it is ready, how it says no, and how much it talks.
"""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from roadworthy.serving.settings import ServerError, ServerSettings, UsageError

__all__ = ["ServerError", "ServerSettings", "UsageError", "serve"]

_THEIR_LOGGERS = ("kserve", "kserve.trace", "uvicorn", "uvicorn.error")
_WARNINGS = "py.warnings"


def say(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(settings: ServerSettings, announce: Callable[[str], object] = say) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is being answered and return.

    Parameters
    ----------
    settings
        What to serve, and where.
    announce
        Called with one line as soon as requests are taken.

    Raises
    ------
    ServerError
        The server cannot start: the port is taken, or a directory is not there.
    BundleError
        The bundle that is to be served is refused. One on a road is only logged.
    """
    _configure_logging(settings.log_level)
    _check_directories(settings)
    with _listen(settings.host, settings.port) as listener:
        server = RoadServer(settings, listener)
        with _signals(server), _loaded(settings, server.fleet):
            announce(_greeting(listener, server.fleet))
            server.start([])


class RoadServer(ModelServer):  # type: ignore[misc]
    """KServe's model server over a fleet.

    Parameters
    ----------
    settings
        What to serve.
    listener
        The socket to take requests from.

    Attributes
    ----------
    fleet
        The versions that are held; each model in it is registered with KServe when it is new.
    """

    def __init__(self, settings: ServerSettings, listener: socket.socket) -> None:
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
        self._rest_server = rest
        # KServe's RESTServer hard-codes 0.0.0.0. uvicorn looks at that only when it has to bind a
        # socket; given one that is bound to the address we want, it listens there and only there.
        rest.run(sockets=[self._listener])

    def stop(self, sig: int) -> None:
        """Leave at a signal that comes before uvicorn takes them over.

        uvicorn sends its own on to us once it has answered everything: then nothing is left to do.
        """
        if self._rest_server is None or not self._rest_server.started:
            raise SystemExit(0)
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

    @property
    def started(self) -> bool:
        return bool(self._server.started)

    def create_application(self) -> None:
        super().create_application()
        self.prepare(kserve_app)


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
        for sign in (signal.SIGINT, signal.SIGTERM)
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
    watcher = Watcher(fleet, _road(settings), settings.poll_seconds)
    watcher.look()
    watcher.start()
    try:
        yield
    finally:
        watcher.stop()


def _road(settings: ServerSettings) -> Path:
    if settings.road is None:
        raise UsageError("Say what to serve: either --road DIR, or --bundle DIR --version N.")
    return settings.road


def _check_directories(settings: ServerSettings) -> None:
    if settings.bundle is None and not _road(settings).is_dir():
        raise ServerError(
            f"There is no directory {settings.road} with what is on the road. "
            f"Make it, or name another with --road."
        )
    if settings.client is not None and not settings.client.is_dir():
        raise ServerError(
            f"There is no directory {settings.client} with the page. "
            f"Name another with --client, or leave it out."
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"Port {port} of {host} is in use by another program. "
                f"Stop that program, or choose another port with --port."
            ) from error
        raise ServerError(
            f"The server cannot listen at {host} port {port} ({error}). "
            f"Choose another address with --host or --port."
        ) from error


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
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
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
