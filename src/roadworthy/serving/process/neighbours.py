"""Connections that wait where no process takes them, taken by a neighbour.

Each worker has a socket of its own at the address they share, and the kernel spreads connections
over the sockets: where all workers take from one socket, one of them often takes most. So what
comes while a worker is being replaced would wait for the next one, and where that does not start,
for ever. Therefore each worker looks at the others' sockets now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

_LOOK_SECONDS = 0.2

log = logging.getLogger(__name__)


async def attend(
    sockets: Sequence[socket.socket],
    connect: Callable[[], asyncio.Protocol],
    seconds: float = _LOOK_SECONDS,
) -> None:
    """Take what waits at other workers' sockets, until cancelled.

    Parameters
    ----------
    sockets
        Sockets that listen.
    connect
        Makes what answers one connection.
    seconds
        Time between two looks.
    """
    loop = asyncio.get_running_loop()
    for one in sockets:
        one.setblocking(False)
    while True:
        await asyncio.sleep(seconds)
        for one in sockets:
            with contextlib.suppress(BlockingIOError):  # the end of those that wait
                while True:
                    await _take(one, loop, connect)


async def _take(
    listener: socket.socket,
    loop: asyncio.AbstractEventLoop,
    connect: Callable[[], asyncio.Protocol],
) -> None:
    try:
        taken, _ = listener.accept()
        # a connection that is taken is served, also by a server that is just told to leave
        await asyncio.shield(loop.connect_accepted_socket(connect, taken))
    except BlockingIOError:
        raise
    except OSError as error:
        # who asked has hung up meanwhile, or there are too many open files
        log.debug("A connection could not be taken: %s", error)
        raise BlockingIOError from error
