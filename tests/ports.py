"""Ports of this machine: which are free, and at which somebody listens."""

import socket
from contextlib import ExitStack


def free_port() -> int:
    """Return a port that nobody listens at."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [free.getsockname()[1] for free in sockets]


def listens(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False
