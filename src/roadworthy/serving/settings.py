"""What a server is told when it starts, and what is found wrong before KServe is loaded."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from roadworthy.errors import ExitCode, RoadworthyError


class ServerError(RoadworthyError):
    """The server cannot start."""


class UsageError(ServerError):
    """The server was told things that do not go together."""

    exit_code = ExitCode.USAGE


LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMAT, LOG_TIMES = "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"


@dataclass(frozen=True)
class ServerSettings:
    """What a server is told.

    Parameters
    ----------
    road
        The directory of roads to watch. Either this, or ``bundle`` and ``version``.
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
    poll_seconds
        How often the roads are looked at, in seconds.
    grace_seconds
        How long requests that are being answered may take once the server is told to stop.
    log_level
        ``debug``, ``info``, ``warning`` or ``error``. KServe and uvicorn speak from ``warning`` on,
        unless it is ``debug``.

    Raises
    ------
    UsageError
        Neither a road nor a bundle with its version is given, or both; or a limit is not positive.
    """

    road: Path | None = None
    bundle: Path | None = None
    version: int | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    client: Path | None = None
    max_body_bytes: int = 1 << 20
    max_rows: int = 1000
    poll_seconds: float = 0.2
    grace_seconds: int = 5
    log_level: str = "info"

    def __post_init__(self) -> None:
        if (self.road is None) == (self.bundle is None):
            raise UsageError("Say what to serve: either --road DIR, or --bundle DIR --version N.")
        if (self.bundle is None) != (self.version is None):
            raise UsageError("A bundle is served under a version: give --bundle with --version.")
        limits = (self.max_body_bytes, self.max_rows, self.poll_seconds, self.grace_seconds)
        if min(limits) <= 0:
            raise UsageError("Limits and times are more than 0: leave one out for its default.")
        if self.log_level not in LOG_LEVELS:
            raise UsageError(f"The log level is one of {', '.join(LOG_LEVELS)}.")


def check(settings: ServerSettings) -> None:
    """See that the directories of a server are there.

    Raises
    ------
    ServerError
        One is not.
    """
    if settings.road is not None and not settings.road.is_dir():
        raise ServerError(
            f"There is no directory {settings.road} with what is on the road. "
            f"Make it, or name another with --road."
        )
    if settings.client is not None and not settings.client.is_dir():
        raise ServerError(
            f"There is no directory {settings.client} with the page. "
            f"Name another with --client, or leave it out."
        )


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises
    ------
    ServerError
        The port is taken, or there is no such address.
    """
    host, port = settings.host, settings.port
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
