"""Accepts connections that wait at the socket of a sibling process.

Each worker has its own socket at the shared address, and the kernel distributes connections over
the sockets. With one socket for all workers, one of them often takes most connections. But
connections at the socket of a worker that died would wait until it is replaced, perhaps for ever.
So each worker polls the sockets of the others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

_POLL_SECONDS = 0.2

log = logging.getLogger(__name__)


async def accept_from(
    sockets: Sequence[socket.socket],
    connect: Callable[[], asyncio.Protocol],
    seconds: float = _POLL_SECONDS,
) -> None:
    """Accept the waiting connections of other workers' sockets, until cancelled.

    Parameters
    ----------
    sockets
        Listening sockets.
    connect
        Makes the protocol of a connection.
    seconds
        The time between two polls.
    """
    for one in sockets:
        one.setblocking(False)
    while True:
        await asyncio.sleep(seconds)
        await accept_waiting(sockets, connect)


async def accept_waiting(
    sockets: Sequence[socket.socket], connect: Callable[[], asyncio.Protocol]
) -> None:
    """Accept the connections that wait at some sockets now."""
    loop = asyncio.get_running_loop()
    for one in sockets:
        try:
            while True:
                accepted, _ = one.accept()
                # shielded, since an accepted connection must be served
                await asyncio.shield(loop.connect_accepted_socket(connect, accepted))
        except BlockingIOError:  # there are no more
            continue
        except OSError as error:  # the client is gone, or too many files are open
            log.debug("A connection could not be accepted: %s", error)
