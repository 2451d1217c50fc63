"""What a server is told when it starts. Importing this loads nothing of KServe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadworthy.errors import ExitCode, RoadworthyError


class ServerError(RoadworthyError):
    """The server cannot start."""


class UsageError(ServerError):
    """The server was told things that do not go together."""

    exit_code = ExitCode.USAGE


LOG_LEVELS = ("debug", "info", "warning", "error")


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
