"""The settings of a server, and the errors that are found before anything heavy is imported."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from roadworthy.core.errors import ExitCode, RoadworthyError


class ServerError(RoadworthyError):
    """The server cannot start."""


class UsageError(ServerError):
    """The settings contradict each other, or are out of range."""

    exit_code = ExitCode.USAGE


TOKEN_VARIABLE = "ROADWORTHY_TOKEN"  # noqa: S105 - its name
"""The environment variable with the token."""
_BACKLOG = 2048
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMAT, LOG_TIMES = "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"


@dataclass(frozen=True)
class ServerSettings:
    """The settings of a server. Each but the token is an option of the command line.

    The server needs either ``routing``, or ``bundle`` and ``version``.

    The token is that of the header ``Authorization: Bearer ...``, which every request needs except
    for liveness and readiness; None for no authorization. It is no option, because other users can
    read a command line.

    Raises
    ------
    UsageError
        Neither or both of a directory and a versioned bundle are given; a limit is not positive;
        the token or an origin is not valid in a header.
    """

    routing: Annotated[Path | None, "directory of routing files to watch"] = None
    bundle: Annotated[Path | None, "one bundle to serve instead"] = None
    version: Annotated[int | None, "the version's number of that bundle"] = None
    latest: Annotated[Path | None, "directory of the models' latest data (latest/ of routing)"] = (
        None
    )
    host: Annotated[str, "address"] = "127.0.0.1"
    port: Annotated[int, "port; 0 for a free one"] = 8080
    client: Annotated[Path | None, "directory of static files for /"] = None
    max_body_bytes: Annotated[int, "largest body of a request"] = 1 << 20
    max_rows: Annotated[int, "most rows of a request"] = 1000
    max_header_bytes: Annotated[int, "largest request line with its headers"] = 16384
    max_headers: Annotated[int, "most headers of a request"] = 100
    max_in_flight: Annotated[int, "most requests in flight of a process; others get 503"] = 256
    idle_seconds: Annotated[int, "time-out of an idle connection; age of one for gRPC"] = 65
    challenger_failures: Annotated[int, "failures in a row until it gets no more traffic"] = 5
    grace_seconds: Annotated[int, "time for requests in flight before a stop"] = 5
    request_seconds: Annotated[float, "time from a request's first byte to its response"] = 30.0
    challenger_seconds: Annotated[float, "time-out of a challenger"] = 1.0
    drain_seconds: Annotated[float, "time to answer, but not be ready, before a stop"] = 0.0
    poll_seconds: Annotated[float, "time between two polls of the routing files"] = 0.2
    grpc_port: Annotated[int | None, "port for gRPC (none)"] = None
    metrics_port: Annotated[int | None, "port for /metrics alone, without a token (none)"] = None
    token: str | None = field(default=None, repr=False)
    cors_origins: Annotated[
        tuple[str, ...], "origin whose pages may read responses; repeatable"
    ] = ()
    log_level: Annotated[str, "lowest level that is logged"] = "info"
    workers: Annotated[int, "processes that serve"] = 1
    metrics_dir: Annotated[
        Path | None, "where several processes write metrics (a temporary directory)"
    ] = None

    def __post_init__(self) -> None:
        if (self.routing is None) == (self.bundle is None):
            raise UsageError(
                "Say what to serve: either --routing DIR, or --bundle DIR --version N."
            )
        if (self.bundle is None) != (self.version is None):
            raise UsageError("A bundle needs its version: give --bundle with --version.")
        limits = (
            *(self.max_body_bytes, self.max_rows, self.max_header_bytes, self.max_headers),
            *(self.max_in_flight, self.request_seconds, self.idle_seconds),
            *(self.poll_seconds, self.grace_seconds, self.workers),
            *(self.challenger_seconds, self.challenger_failures),
        )
        if min(limits) <= 0 or self.drain_seconds < 0:
            raise UsageError("Limits and times must be positive: leave one out for its default.")
        if self.grpc_port is not None and not 0 < self.grpc_port < 1 << 16:
            raise UsageError("The port for gRPC must be from 1 to 65535: leave it out for no gRPC.")
        if self.metrics_port is not None and not 0 < self.metrics_port < 1 << 16:
            raise UsageError(
                "The port for metrics must be from 1 to 65535: leave it out for none of their own."
            )
        if self.log_level not in LOG_LEVELS:
            raise UsageError(f"The log level must be one of {', '.join(LOG_LEVELS)}.")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise UsageError(
                "The token must have letters, digits and -._~+/= only: choose another one."
            )
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"{origin!r} is not an origin: name a scheme, a host and perhaps a port, "
                    f"such as https://cars.example.org."
                )

    @property
    def latest_directory(self) -> Path | None:
        """The directory with the newest request of each model, if any."""
        if self.latest is None and self.routing is not None:
            return self.routing / "latest"
        return self.latest


def read_token(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the token in a file, or without a file in the variable :data:`TOKEN_VARIABLE`.

    Raises
    ------
    ServerError
        The file cannot be read, or is empty. The server must not start without its token.
    """
    if file is None:
        return environment.get(TOKEN_VARIABLE, "").strip() or None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServerError(
            f"The file {file} with the token cannot be read ({error}). "
            f"Let the server read it, or name another with --token-file."
        ) from error
    if not token:
        raise ServerError(f"The file {file} has no token. Write one into it.")
    return token


def check(settings: ServerSettings) -> None:
    """Check that the directories of a server exist.

    Raises
    ------
    ServerError
        A directory does not exist.
    """
    if settings.routing is not None and not settings.routing.is_dir():
        raise ServerError(
            f"There is no directory {settings.routing} of routing files. "
            f"Make it, or name another with --routing."
        )
    if settings.client is not None and not settings.client.is_dir():
        raise ServerError(
            f"There is no directory {settings.client} of static files. "
            f"Name another with --client, or leave it out."
        )


def listen(settings: ServerSettings) -> list[socket.socket]:
    """Return a listening socket for each worker, over which the kernel distributes connections.

    Raises
    ------
    ServerError
        The port is in use, or the address does not exist.
    """
    count = settings.workers
    with _listening(settings.host, settings.port, "--port") as create:
        first = create(settings.port, shared=False)
        if count == 1:
            return [first]
        # Sockets that share a port do not conflict with those of another server that do so too.
        # Only the first socket, which does not share it, shows that the port is free.
        with first:
            port = first.getsockname()[1]
        return [create(port, shared=True) for _ in range(count)]


def listen_for_metrics(settings: ServerSettings) -> list[socket.socket]:
    """Return the listening socket of the port for metrics, if there is one.

    Each process has its own, because each answers for all.

    Raises
    ------
    ServerError
        The port is in use.
    """
    port = settings.metrics_port
    if port is None:
        return []
    with _listening(settings.host, port, "--metrics-port") as create:
        return [create(port, shared=True)]


class _Create(Protocol):
    def __call__(self, port: int, *, shared: bool) -> socket.socket: ...


@contextmanager
def _listening(host: str, port: int, option: str) -> Iterator[_Create]:
    """Provide a function that makes a listening socket; ``option`` is the port's, for errors."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def create(port: int, *, shared: bool) -> socket.socket:
        address = (host, port)
        return socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=shared)

    try:
        yield create
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"Port {port} of {host} is in use by another program. "
                f"Stop that program, or choose another port with {option}."
            ) from error
        raise ServerError(
            f"The server cannot listen at {host} port {port} ({error}). "
            f"Choose another address with --host or {option}."
        ) from error
