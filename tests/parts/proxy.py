"""A proxy before a server over HTTP, which lets chosen requests go wrong."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

import pytest

Kind = Literal["drop", "lose answer", "delay", "half body", "half sent", "403", "500"]
PATIENCE_SECONDS = 60
_OF_THE_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}
_REFUSAL = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message></Error>"""
_REFUSALS = {
    "403": (403, "AccessDenied", "Access Denied"),
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
}


@dataclass
class Fault:
    """What goes wrong, and with which requests.

    Parameters
    ----------
    kind
        ``drop``: the connection is closed, the server sees nothing. ``lose answer``: the server
        does as it is asked, then the connection is closed. ``delay``: nothing happens for so many
        seconds, or until the fault is mended. ``half body``: of the answer's body only half comes.
        ``half sent``: of what is sent the server gets only half, then both connections are closed.
        A number: the answer.
    method, path
        Regular expressions that the whole method and some of path and query match.
    first, times
        The first of those requests that it meets, and how many; all from there on without.
    seconds
        How long a delay is.
    """

    kind: Kind
    method: str = ".*"
    path: str = ""
    first: int = 1
    times: int | None = None
    seconds: float = PATIENCE_SECONDS
    seen: int = 0
    hits: int = 0
    mended: threading.Event = field(default_factory=threading.Event)
    struck: threading.Event = field(default_factory=threading.Event)

    def mend(self) -> None:
        """Let everything through from now on, also what waits."""
        self.mended.set()

    def strikes(self, method: str, path: str) -> bool:
        """Count a request; return whether it goes wrong."""
        matches = re.fullmatch(self.method, method) and re.search(self.path, path)
        if self.mended.is_set() or not matches:
            return False
        self.seen += 1
        if self.seen < self.first or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        self.struck.set()
        return True


class Proxy:
    """A proxy before one server; its requests are kept in the order of their arrival."""

    def __init__(self, target: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.on_request: Callable[[str, str], None] = lambda method, path: None
        self._target = urlsplit(target)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def break_(self, kind: Kind, **chosen) -> Fault:
        """Let requests go wrong until the fault is mended. See :class:`Fault`."""
        fault = Fault(kind, **chosen)
        with self._lock:
            self._faults.append(fault)
        return fault

    def mend(self) -> None:
        """Mend every fault."""
        with self._lock:
            for fault in self._faults:
                fault.mend()
            self._faults.clear()

    def close(self) -> None:
        self.mend()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def note(self, method: str, path: str) -> Fault | None:
        """Note a request and return the fault that it meets."""
        self.on_request(method, path)
        with self._lock:
            self.requests.append((method, path))
            return next((fault for fault in self._faults if fault.strikes(method, path)), None)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            self._target.hostname, self._target.port, timeout=PATIENCE_SECONDS
        )


@pytest.fixture
def proxy() -> Iterator[Callable[[str], Proxy]]:
    """Put a proxy before a server, given its address, until the test ends."""
    with _proxies() as before:
        yield before


@pytest.fixture(scope="session")
def lasting_proxy() -> Iterator[Callable[[str], Proxy]]:
    """Put a proxy before a server, given its address, until the last test has ended."""
    with _proxies() as before:
        yield before


@contextmanager
def _proxies() -> Iterator[Callable[[str], Proxy]]:
    made = []

    def before(target: str) -> Proxy:
        made.append(Proxy(target))
        return made[-1]

    try:
        yield before
    finally:
        for one in made:
            one.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address) -> None:
        """Say nothing where a client went away, as it does when it is killed."""


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self._pass_on(self._body())

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                continue
            return b"".join(parts)

        def _pass_on(self, body: bytes) -> None:
            fault = proxy.note(self.command, self.path)
            kind = fault.kind if fault else ""
            if fault and kind == "delay":
                fault.mended.wait(fault.seconds)
            if kind == "drop":
                self._cut()
                return
            if kind in _REFUSALS:
                status, code, message = _REFUSALS[kind]
                told = _REFUSAL.format(code=code, message=message).encode()
                self._answer(status, {"Content-Type": "application/xml"}, told)
                return
            if kind == "half sent":
                self._begin_to_ask(body)
                self._cut()
                return
            status, headers, content = self._ask(body)
            if kind == "lose answer":
                self._cut()
                return
            self._answer(status, headers, content, half=kind == "half body")

        def _begin_to_ask(self, body: bytes) -> None:
            connection = proxy.connect()
            try:
                half = body[: len(body) // 2]
                connection.request(self.command, self.path, half, self._passed_on(body))
            finally:
                connection.close()

        def _passed_on(self, body: bytes) -> dict[str, str]:
            """Return the headers of a request that the server gets."""
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _OF_THE_HOP}
            headers.pop("Expect", None)
            headers["Content-Length"] = str(len(body))
            return headers

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = proxy.connect()
            try:
                connection.request(self.command, self.path, body, self._passed_on(body))
                answer = connection.getresponse()
                content = answer.read()
                kept = {k: v for k, v in answer.getheaders() if k.lower() not in _OF_THE_HOP}
                return answer.status, kept, content
            finally:
                connection.close()

        def _answer(self, status: int, headers, content: bytes, *, half: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
            if self.command != "HEAD" and status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(content[: len(content) // 2] if half else content)
            if half:
                self._cut()

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):  # the other side may have gone first
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format, *arguments) -> None:  # noqa: A002
            """Say nothing: the requests are kept."""

    return Handler
