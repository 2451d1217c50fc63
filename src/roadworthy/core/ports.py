"""Ports of this machine at which somebody listens, or nobody."""

from __future__ import annotations

import errno
import os
import socket

from roadworthy.core.errors import RoadworthyError


class PortError(RoadworthyError):
    """A port is taken."""


def free_port(preferred: int = 0) -> int:
    """Return the preferred port if nobody listens at it on 127.0.0.1, else another that is free."""
    for port in (preferred, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as free:
                return int(free.getsockname()[1])
        except OSError:
            continue
    raise PortError("No port of 127.0.0.1 is free: stop a program that listens at one.")


def require_free(port: int) -> None:
    """Check that nobody listens at a port of 127.0.0.1.

    Raises
    ------
    PortError
        It is taken, or this user may not listen at it.
    """
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        problem = "is in use by another program" if taken else "cannot be used"
        cause = "" if taken else f" ({os.strerror(error.errno or 0)})"
        remedy = "Stop that program, or choose" if taken else "Choose"
        raise PortError(
            f"Port {port} of 127.0.0.1 {problem}{cause}. {remedy} another port with --port."
        ) from error
