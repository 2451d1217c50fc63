"""What a server is told when it starts, and what is found wrong before KServe is loaded."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roadworthy.core.errors import ExitCode, RoadworthyError


class ServerError(RoadworthyError):
    """The server cannot start."""


class UsageError(ServerError):
    """The server was told things that do not go together."""

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
    """What a server is told.

    Parameters
    ----------
    routing
        The directory of routing files to watch. Either this, or ``bundle`` and ``version``.
    bundle, version
        A bundle that is served for as long as the server lives, and its version's number.
    host
        The address to listen at. Nothing but this machine reaches the default.
    port
        The port to listen at; 0 takes a free one.
    client
        A directory of static files for ``/``, or nothing.
    max_body_bytes
        The largest body of a request, in bytes.
    max_rows
        The most rows of one request.
    max_header_bytes
        The largest request line with its headers, in bytes.
    max_headers
        The most headers of a request.
    max_in_flight
        The most requests that a process answers at a time; one more is told to come again.
    request_seconds
        How long a request may take, from its first byte to the last one of its answer.
    idle_seconds
        How long a connection may stay open on which nothing is asked.
    challenger_seconds
        How long a version on trial may take for one request, before the champion answers it.
    challenger_failures
        After so many failures one after the other it is asked only by who asks for it.
    token
        What who asks must show as ``Authorization: Bearer ...``, but for whether the server lives
        and is ready; or nothing. It is no option of the command line, which everyone can read.
    cors_origins
        The origins, such as ``https://cars.example.org``, whose pages may read answers.
    grpc_port
        The port to listen at for gRPC, at the same address; nothing is no gRPC.
    workers
        How many processes serve at the same address.
    metrics_dir
        Where processes that serve together write their figures; nothing is a directory for scratch
        files. A process that serves alone writes none.
    drain_seconds
        How long the server, told to stop, says that it is not ready and still answers, so that
        nobody is sent to it any more when it stops.
    poll_seconds
        How often the routing files are looked at, in seconds.
    grace_seconds
        How long requests that are being answered may take once the server is told to stop.
    log_level
        ``debug``, ``info``, ``warning`` or ``error``. KServe and uvicorn speak from ``warning`` on,
        unless it is ``debug``.

    Raises
    ------
    UsageError
        Neither or both of a directory and a versioned bundle are given; a limit is not positive;
        the token or an origin is not what a browser can send.
    """

    routing: Path | None = None
    bundle: Path | None = None
    version: int | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    client: Path | None = None
    max_body_bytes: int = 1 << 20
    max_rows: int = 1000
    max_header_bytes: int = 16384
    max_headers: int = 100
    max_in_flight: int = 256
    request_seconds: float = 30.0
    idle_seconds: int = 65
    challenger_seconds: float = 1.0
    challenger_failures: int = 5
    token: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    grpc_port: int | None = None
    workers: int = 1
    metrics_dir: Path | None = None
    drain_seconds: float = 0.0
    poll_seconds: float = 0.2
    grace_seconds: int = 5
    log_level: str = "info"

    def __post_init__(self) -> None:
        if (self.routing is None) == (self.bundle is None):
            raise UsageError(
                "Say what to serve: either --routing DIR, or --bundle DIR --version N."
            )
        if (self.bundle is None) != (self.version is None):
            raise UsageError("A bundle is served under a version: give --bundle with --version.")
        limits = (
            *(self.max_body_bytes, self.max_rows, self.max_header_bytes, self.max_headers),
            *(self.max_in_flight, self.request_seconds, self.idle_seconds),
            *(self.poll_seconds, self.grace_seconds, self.workers),
            *(self.challenger_seconds, self.challenger_failures),
        )
        if min(limits) <= 0 or self.drain_seconds < 0:
            raise UsageError("Limits and times are more than 0: leave one out for its default.")
        if self.grpc_port is not None and not 0 < self.grpc_port < 1 << 16:
            raise UsageError("The port for gRPC is one of 1 to 65535: leave it out for no gRPC.")
        if self.log_level not in LOG_LEVELS:
            raise UsageError(f"The log level is one of {', '.join(LOG_LEVELS)}.")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise UsageError("The token is letters, digits and -._~+/= only: choose another one.")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"{origin!r} is no origin: name a scheme, a host and perhaps a port, "
                    f"such as https://cars.example.org."
                )


def read_token(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the token that a file holds, or else the variable :data:`TOKEN_VARIABLE`.

    Raises
    ------
    ServerError
        The file cannot be read, or is empty: a server that was meant to have a token has one.
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
        raise ServerError(f"The file {file} holds no token. Write one into it.")
    return token


def check(settings: ServerSettings) -> None:
    """See that the directories of a server are there.

    Raises
    ------
    ServerError
        One is not.
    """
    if settings.routing is not None and not settings.routing.is_dir():
        raise ServerError(
            f"There is no directory {settings.routing} with what is deployed. "
            f"Make it, or name another with --routing."
        )
    if settings.client is not None and not settings.client.is_dir():
        raise ServerError(
            f"There is no directory {settings.client} with the page. "
            f"Name another with --client, or leave it out."
        )


def listen(settings: ServerSettings) -> list[socket.socket]:
    """Return sockets that listen where the settings say, one for each worker.

    The kernel gives each connection to one of them.

    Raises
    ------
    ServerError
        The port is taken, or there is no such address.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    count = settings.workers
    try:
        first = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        if count == 1:
            return [first]
        # No socket that shares its port is refused by others that share it: that the port is free
        # is seen by one that does not.
        with first:
            address = first.getsockname()[:2]
        return [
            socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=True)
            for _ in range(count)
        ]
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
