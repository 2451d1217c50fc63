"""What every request passes first: who may ask, from which pages, and what the answer tells.

This is a plain ASGI middleware around everything that answers.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Iterable, Mapping

import orjson

from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http.connection import REFUSAL
from roadworthy.serving.http.front import COUNTED, App, Header, Message, Receive, Scope, Send
from roadworthy.serving.models.rejection import Rejection

OPEN_PATHS = re.compile(r"/v2/health/(live|ready)|/v2/models/[^/]+/ready")
"""What is answered to who shows no token: whether the server lives, and is ready."""
READY_PATHS = re.compile(r"/v2/health/ready|/v[12]/models/[^/:]+|/v2/models/[^/]+/ready")
"""What tells whether requests should be sent here."""
HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What every answer says that does not say it itself: show nothing of it as a page."""

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
_EXPOSED = f"{VERSION_HEADER}, retry-after, etag".encode()

log = logging.getLogger(__name__)


class Guard:
    """Lets in who may ask.

    Parameters
    ----------
    app
        Answers.
    token
        What who asks must show as ``Authorization: Bearer ...``, or nothing.
    origins
        The origins, such as ``https://cars.example.org``, whose pages may read answers.
    leaving
        Whether the server is about to stop: then it is not ready.
    refused
        Called with protocol and status of each request that no version answered or refused.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str | None = None,
        origins: Iterable[str] = (),
        leaving: Callable[[], bool] = lambda: False,
        refused: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        self._refused = refused
        self._app = app
        self._token = token
        self._origins = frozenset(origin.encode("latin-1") for origin in origins)
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
            elif self._origins and _is_preflight(scope):
                await answer({"type": "http.response.start", "status": 204, "headers": []})
                await answer({"type": "http.response.body", "body": b""})
            else:
                await self._app(scope, receive, answer)
        except Exception:
            # the last resort: whatever failed is in the log, and who asked is told that much
            log.exception("%s %s was not answered.", scope["method"], scope["path"])
            if not started:
                told = "This was not foreseen: the log of the server says more."
                await _refuse(Rejection(500, told), answer)
            else:
                raise

    def _refusal(self, scope: Scope) -> Rejection | None:
        path = scope["path"]
        if self._token is not None and not _is_preflight(scope):
            shown = dict(scope["headers"]).get(b"authorization")
            if not is_shown(shown, self._token) and not OPEN_PATHS.fullmatch(path):
                return unknown(shown)
        if self._leaving() and READY_PATHS.fullmatch(path):
            return Rejection(503, "The server is about to stop.", headers={"retry-after": "1"})
        return None

    def _cross_origin(self, scope: Scope) -> tuple[Header, ...]:
        """Return what lets a page of a named origin read the answer."""
        origin = dict(scope["headers"]).get(b"origin")
        vary = (b"vary", b"origin")
        if origin is None or origin not in self._origins:
            return (vary,)
        allowed = (b"access-control-allow-origin", origin)
        if _is_preflight(scope):
            return (vary, allowed, *_PREFLIGHT)
        return (vary, allowed, (b"access-control-expose-headers", _EXPOSED))


def is_shown(shown: bytes | None, token: str) -> bool:
    """Return whether an ``Authorization`` shows the token, in a time that does not tell how near.

    Parameters
    ----------
    shown
        The header's value, or nothing.
    token
        The token.
    """
    scheme, _, credentials = (shown or b"").strip().partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(credentials.strip(), token.encode())


def unknown(shown: bytes | None) -> Rejection:
    """Return the refusal of who shows no token, or another one."""
    error = ', error="invalid_token"' if shown else ""
    what = "is not this server's" if shown else "is missing"
    return Rejection(
        401,
        f"The token {what}: send the header Authorization: Bearer TOKEN.",
        headers={"www-authenticate": f'Bearer realm="roadworthy"{error}'},
    )


def _protocol(path: str) -> str:
    return path[1:3] if path.startswith(("/v1/", "/v2/")) else "http"


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and b"access-control-request-method" in dict(
        scope["headers"]
    )


def _secured(headers: Iterable[Header], method: str, extra: tuple[Header, ...]) -> list[Header]:
    said = list(headers)
    names = {name for name, _ in said}
    said += [header for header in HEADERS if header[0] not in names]
    if method != "POST" and b"cache-control" not in names:
        said.append(_NO_STORE)
    return [*said, *extra]


async def _refuse(rejection: Rejection, send: Send) -> None:
    body = orjson.dumps(rejection.document)
    told: Mapping[str, str] = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **rejection.headers,
    }
    headers = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": rejection.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
