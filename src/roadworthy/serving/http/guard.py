"""Tokens, CORS, security headers and unexpected errors, for every request.

This is plain ASGI middleware around all other applications.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Iterable

from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http.connection import REFUSAL
from roadworthy.serving.http.model_routes import (
    COUNTED,
    App,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    parse_path,
    refused,
)
from roadworthy.serving.models.rejection import Rejection, unavailable

OPEN_PATHS = re.compile(r"/v2/health/(live|ready)|/v2/models/[^/]+/ready")
"""The paths that need no token: liveness and readiness."""
HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""The default headers of every response, which keep browsers from showing it as a page."""

_NO_STORE = (b"cache-control", b"no-store")
_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        f"authorization, content-type, content-encoding, if-none-match, {VERSION_HEADER}, "
        f"inference-header-content-length".encode(),
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = f"{VERSION_HEADER}, retry-after, etag, inference-header-content-length".encode()

log = logging.getLogger(__name__)


class Guard:
    """Checks every request, and completes every response.

    Parameters
    ----------
    app
        Answers the requests.
    token
        The token of the header ``Authorization: Bearer ...``, or None for no authorization.
    metrics_port
        The port at which only ``/metrics`` is answered, without a token; None for none.
    origins
        The origins, such as ``https://cars.example.org``, whose pages may read responses.
    stopping
        Returns whether the server is about to stop: it is then not ready.
    refused
        Called with protocol and status of each error that is not a version's.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str | None = None,
        metrics_port: int | None = None,
        origins: Iterable[str] = (),
        stopping: Callable[[], bool] = lambda: False,
        refused: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        self._refused = refused
        self._app = app
        self._token = token
        self._metrics_port = metrics_port
        self._origins = frozenset(origin.encode("latin-1") for origin in origins)
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = False
        extra = self._cross_origin(scope) if self._origins else ()

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= 400 and COUNTED not in scope:
                    self._refused(_protocol(scope["path"]), message["status"])
                message["headers"] = _secured(message["headers"], scope["method"], extra)
            await send(message)

        try:
            refusal = scope.get(REFUSAL) or self._refusal(scope)
            if refusal is not None:
                await _refuse(refusal, answer)
            elif scope["method"] == "OPTIONS":
                # also the health check of a proxy, which sends it for `/` or `*`
                allow = (b"allow", _methods(scope["path"]))
                await answer({"type": "http.response.start", "status": 204, "headers": [allow]})
                await answer({"type": "http.response.body", "body": b""})
            else:
                await self._app(scope, receive, answer)
        except Exception:
            log.exception("%s %s failed.", scope["method"], scope["path"])
            if started:
                raise
            sentence = "An unexpected error occurred: see the server's log."
            await _refuse(Rejection(500, sentence), answer)

    def _refusal(self, scope: Scope) -> Rejection | None:
        path = scope["path"]
        if self._metrics_port is not None and scope["server"][1] == self._metrics_port:
            told = f"Port {self._metrics_port} answers GET /metrics only."
            return None if path == "/metrics" else Rejection(404, told)
        if self._token is not None and scope["method"] != "OPTIONS":
            header = dict(scope["headers"]).get(b"authorization")
            if not has_token(header, self._token) and not OPEN_PATHS.fullmatch(path):
                return unauthorized(header)
        if self._stopping() and _is_readiness(path):
            return unavailable("The server is about to stop: retry.")
        return None

    def _cross_origin(self, scope: Scope) -> tuple[Header, ...]:
        """Return the headers with which a page of an allowed origin may read the response."""
        origin = dict(scope["headers"]).get(b"origin")
        vary = (b"vary", b"origin")
        if origin is None or origin not in self._origins:
            return (vary,)
        allowed = (b"access-control-allow-origin", origin)
        if _is_preflight(scope):
            return (vary, allowed, *_PREFLIGHT)
        return (vary, allowed, (b"access-control-expose-headers", _EXPOSED))


def has_token(header: bytes | None, token: str) -> bool:
    """Return whether an ``Authorization`` header has the token, compared in constant time."""
    scheme, _, credentials = (header or b"").strip().partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(credentials.strip(), token.encode())


def unauthorized(header: bytes | None) -> Rejection:
    """Return the rejection of a request without a token, or with another one."""
    error = ', error="invalid_token"' if header else ""
    what = "is not this server's" if header else "is missing"
    return Rejection(
        401,
        f"The token {what}: send the header Authorization: Bearer TOKEN.",
        headers={"www-authenticate": f'Bearer realm="roadworthy"{error}'},
    )


def _protocol(path: str) -> str:
    return path[1:3] if path.startswith(("/v1/", "/v2/")) else "http"


def _methods(path: str) -> bytes:
    target = parse_path(path)
    posts = path.startswith("/v2/repository/") if target is None else not target.is_document
    return b"OPTIONS, POST" if posts else b"GET, HEAD, OPTIONS"


def _is_readiness(path: str) -> bool:
    target = parse_path(path)
    return path == "/v2/health/ready" if target is None else target.verb == "ready"


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in dict(
        scope["headers"]
    )


def _secured(headers: Iterable[Header], method: str, extra: tuple[Header, ...]) -> list[Header]:
    complete = list(headers)
    names = {name for name, _ in complete}
    complete += [header for header in HEADERS if header[0] not in names]
    if method != "POST" and b"cache-control" not in names:
        complete.append(_NO_STORE)
    return [*complete, *extra]


async def _refuse(rejection: Rejection, send: Send) -> None:
    reply = refused(rejection)
    head = {"status": reply.status, "headers": reply.headers}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": reply.body})
