"""One HTTP connection, with limits that hold before the application sees a request.

The application gets a request when it is complete, so that a slow or incomplete request blocks only
its own connection. Requests that are malformed, too large, too slow or too many are refused in
JSON, as all others.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from roadworthy.serving.models.rejection import Rejection, too_large, unavailable
from roadworthy.serving.settings import ServerSettings

LIGHT_PATHS = frozenset({"/v2/health/live", "/v2/health/ready", "/metrics"})
"""The paths of probes, which are answered under any load."""
REFUSAL = "roadworthy.refusal"
"""The key of a scope with the rejection that the application is to send."""

_LINGER_SECONDS = 2.0
"""How long a refused client's data is discarded, so that it can read the refusal."""
_STOP_MARGIN_SECONDS = 0.3
_EXPIRY_SECONDS = 0.25
_SPARE_FILES = 96
"""The descriptors that are left for models, metrics and connections just accepted."""
_FRAME = 8
"""The factor by which chunks may enlarge a body: a chunk of one byte takes six bytes."""


@dataclass
class Load:
    """The load of all connections of a server.

    Attributes
    ----------
    in_flight
        The complete requests without a response, except probes.
    refused
        Called with protocol and status of a request that the application does not see.
    most_connections
        With one more, the connection that has waited longest for a request is closed.
    """

    in_flight: int = 0
    refused: Callable[[str, int], object] = lambda *_: None
    most_connections: int = sys.maxsize


def raise_file_limit() -> int:
    """Raise the limit of open files as far as it may be, and return how many connections fit.

    Without a descriptor left a server accepts nothing, not even a probe.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else max(hard - _SPARE_FILES, 1)


def expire(connections: Iterable[Connection], loop: asyncio.AbstractEventLoop) -> None:
    """Close connections that exceed a time-out, now and periodically.

    To check all connections a few times a second costs less than a timer per request.
    """
    now = loop.time()
    for connection in list(connections):
        connection.expire(now)
    loop.call_later(_EXPIRY_SECONDS, expire, connections, loop)


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits.

    Parameters
    ----------
    limits
        The settings with the limits of requests.
    load
        The load of the server, which all connections share.
    """

    def __init__(self, *args: Any, limits: ServerSettings, load: Load, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._load = load
        self._since = self.loop.time()  # when the request, or the idle time, began
        self._arriving = False  # a request is incomplete
        self._head_bytes = 0  # of an incomplete head, -1 after it
        self._frame_bytes = 0  # received after a head, less the body
        self._chunk_bytes = 0
        self._waiting: Any = None  # the request without its body, and the application
        self._running: Any = None  # the last request of the application
        self._large = False  # that request was refused for its size: discard its body
        self._problem: tuple[HTTPStatus, str] | None = None
        self._upgrades = False
        self._stops = False
        self._discards = False

    def connection_made(self, transport: Any) -> None:
        """Take a connection; where there are too many, close the one that has waited longest.

        That is one without a request, then one whose request arrives, then this one.
        """
        super().connection_made(transport)
        if len(self.connections) > self._load.most_connections:
            others: Iterable[Any] = self.connections - {self}
            waiting = [one for one in others if one.is_waiting]
            oldest = min(waiting, key=lambda one: one.waits_since, default=self)
            oldest.transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a request or the rest of one, and is not being closed."""
        return not self._is_answering() and not self.transport.is_closing()

    @property
    def waits_since(self) -> tuple[bool, float]:
        """Whether a request arrives, and since when it waits, in the loop's time."""
        return self._arriving, self._since

    def expire(self, now: float) -> None:
        """Close the connection if it exceeds a time-out."""
        seconds = now - self._since
        if self._discards:
            if self._is_answering() and seconds > self._limits.request_seconds:
                self.transport.abort()  # the client does not read the response before the refusal
            return
        if self._arriving:
            if seconds > self._limits.request_seconds:
                message = f"The request was not complete within {self._limits.request_seconds:g} s"
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"{message}: send it again.")
        elif self._is_answering():
            if seconds > self._limits.request_seconds:
                # the response is not ready, or the client does not read it
                self.transport.abort()
        elif seconds > self.timeout_keep_alive:
            self.transport.close()

    def shutdown(self) -> None:
        """Close an idle connection, or let its request arrive and be answered."""
        self._stops = True
        super_waits = self.cycle is not None and not self.cycle.response_complete
        if not self._arriving or super_waits:
            super().shutdown()
        if self._arriving:
            grace = self.config.timeout_graceful_shutdown or 0
            self.loop.call_later(max(grace - _STOP_MARGIN_SECONDS, 0), self._give_up)

    def data_received(self, data: bytes) -> None:
        """Parse received data."""
        if self._discards:
            return
        self._chunk_bytes = len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                bad = (HTTPStatus.BAD_REQUEST, "The request is not HTTP/1.1: send one that is.")
                self._refuse(*(self._problem or bad))
                return
        if self._arriving:
            self._check_incomplete()

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's protocol has a bool
        """Answer a complete request, though no more will come; return whether to stay open."""
        if self._discards:
            return False
        if self._arriving:
            self._refuse(HTTPStatus.BAD_REQUEST, "The request is cut off: send all of it.")
            return True
        if self._is_answering():
            self._running.keep_alive = self.cycle.keep_alive = False
            return True
        return False

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if not self._is_answering():
            self._since = self.loop.time()
        self._arriving = True
        self._large = False
        self._head_bytes = self._frame_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers, after a body in chunks, are ignored.

        They must not change authentication or routing (RFC 9110, section 6.5.1).
        """
        if self._head_bytes >= 0:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take the head of a request."""
        limits = self._limits
        if len(self.headers) > limits.max_headers:
            self._problem = _head_problem(f"more than {limits.max_headers} headers")
            raise ValueError
        if self._head_bytes + self._chunk_bytes > limits.max_header_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            self._check_head(size)
        self._head_bytes = -1
        self._upgrades = self.parser.should_upgrade()
        if self._upgrades:
            if self.parser.get_method() == b"CONNECT":
                raise ValueError
            return
        super().on_headers_complete()
        if self._stops:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._frame_bytes -= len(body)
        if not (self._large or self.cycle.response_complete):
            self.cycle.body += body

    def on_message_complete(self) -> None:
        """Give the complete request to the application."""
        if self._upgrades:
            return
        self._arriving = False
        super().on_message_complete()
        if self._waiting is not None:
            cycle, app = self._waiting
            if len(cycle.body) > self._limits.max_body_bytes:
                cycle.scope[REFUSAL] = too_large(self._limits.max_body_bytes)
            self._answer(cycle, app)

    def on_response_complete(self) -> None:
        """Answer the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self._arriving:
            self._since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if cycle.more_body:
            self._waiting = cycle, app
        else:
            self._answer(cycle, app)

    def _answer(self, cycle: Any, app: Any) -> None:
        self._waiting = None
        self._running = cycle
        counts = cycle.scope["path"] not in LIGHT_PATHS
        if counts:
            if self._load.in_flight >= self._limits.max_in_flight:
                cycle.scope[REFUSAL] = _too_many(self._load.in_flight)
            self._load.in_flight += 1
        if cycle.scope["method"] == "POST":
            cycle.transport = _InOne(cycle.transport)
        task = self.loop.create_task(self._run(cycle, app, counts))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _run(self, cycle: Any, app: Any, counts: bool) -> None:
        try:
            await cycle.run_asgi(app)
        finally:
            # uvicorn's set of tasks shrinks one turn of the loop later, and would be too large
            self._load.in_flight -= counts

    def _without_upgrade(self) -> bytes:
        """Return the head of a request without its upgrade, which a server may ignore.

        After an upgrade the parser stops, even before a body.
        """
        lines = [
            b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, _encoded(self.parser)),
            *(name + b": " + value for name, value in self.headers if name != b"upgrade"),
        ]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", b""])

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _check_incomplete(self) -> None:
        """Check the limits of an incomplete request."""
        if self._head_bytes >= 0:
            self._head_bytes += self._chunk_bytes
            try:
                self._check_head(self._head_bytes)
            except ValueError:
                self._refuse(*(self._problem or _head_problem("too large")))
            return
        self._frame_bytes += self._chunk_bytes
        if self._frame_bytes > self._limits.max_header_bytes + _FRAME * self._limits.max_body_bytes:
            self._refuse(*_head_problem("too large"))
            return
        if self._waiting is None:
            return
        cycle, app = self._waiting
        limit = self._limits.max_body_bytes
        if len(cycle.body) > limit or _declared(self.headers) > limit:
            self._large = True
            cycle.scope[REFUSAL] = too_large(limit)
            self._answer(cycle, app)
        elif cycle.waiting_for_100_continue and not self._is_answering():
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _check_head(self, size: int) -> None:
        limit = self._limits.max_header_bytes
        if size > limit:
            self._problem = _head_problem(f"more than {limit} bytes")
            raise ValueError

    def _give_up(self) -> None:
        if self._arriving and not self._discards and not self.transport.is_closing():
            message = "The request was not complete before the server had to stop: send it again."
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Refuse a request that the application cannot get, and read no more."""
        self._discards = True
        self._arriving = False
        self._load.refused("http", status.value)
        self.pipeline.clear()
        if self._is_answering():  # its response is still to come, and is the last
            self._running.keep_alive = False
            return
        if self.cycle is not None:
            self.cycle.response_complete = True
        body = orjson.dumps({"error": sentence})
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}".encode(),
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: application/json",
            b"content-length: " + str(len(body)).encode(),
            b"x-content-type-options: nosniff",
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


class _InOne:
    """Writes the head of a response with its first data, in one system call instead of two."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def close(self) -> None:
        if self._head:
            self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def _encoded(parser: httptools.HttpRequestParser) -> bytes:
    version: str = parser.get_http_version()
    return version.encode()


def _too_many(count: int) -> Rejection:
    return unavailable(f"{count} requests are in flight, the most there can be: retry.")


def _head_problem(what: str) -> tuple[HTTPStatus, str]:
    sentence = f"The request line and the headers are {what}: send less."
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence


def _declared(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the content-length of a request, or 0."""
    lengths = [value for name, value in headers if name == b"content-length"]
    return int(lengths[-1]) if lengths and lengths[-1].isdigit() else 0
