"""The way of a request: what is asked of a model is answered here, the rest by KServe's own routes.

This is a plain ASGI middleware, the outermost on KServe's application. A prediction so passes
neither FastAPI's routing nor KServe's decoding and timing, which cost more than the model itself.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from roadworthy.road import VERSION_HEADER
from roadworthy.serving import protocol
from roadworthy.serving.fleet import Fleet, Held, Served
from roadworthy.serving.rejection import Rejection

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

VERSION = VERSION_HEADER.encode()
"""Names the version that answered; in a request, the version that is to answer."""
RETRY_SECONDS = "1"
VERBS = ("predict", "infer", "metadata", "ready", "card")
"""What can be asked of a model."""

_PATH = re.compile(
    r"/v1/models/(?P<model_v1>[^/]+):(?P<verb_v1>[^/:]*)"
    r"|/v2/models/(?P<model_v2>[^/]+)(?:/versions/(?P<version>[^/]+))?"
    r"(?:/(?P<verb_v2>infer|ready|card))?"
)


class Asked(NamedTuple):
    """What a path asks of a model."""

    model: str
    verb: str
    version: str | None


class Reply(NamedTuple):
    """An answer that is ready to be sent."""

    status: int
    headers: list[Header]
    body: bytes


@dataclass(frozen=True)
class Limits:
    """How much one request may be: bytes of body, and rows."""

    max_body_bytes: int
    max_rows: int


class Front:
    """Answers what is asked of a model.

    Parameters
    ----------
    app
        Answers everything else.
    fleet
        The models.
    limits
        How much a request may be.
    observe
        Called with a model's name and the seconds that its answer took.
    page
        Whether ``/`` has a page for browsers.
    """

    def __init__(
        self,
        app: App,
        *,
        fleet: Fleet,
        limits: Limits,
        observe: Callable[[str, float], None] = lambda *_: None,
        page: bool = False,
    ) -> None:
        self._app = app
        self._fleet = fleet
        self._limits = limits
        self._observe = observe
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = asked_of(scope["path"]) if scope["type"] == "http" else None
        if asked is None:
            await self._app(self._for_browsers(scope), receive, send)
            return
        try:
            reply = await self._reply(asked, scope, receive)
        except Rejection as rejection:
            reply = refused(rejection)
        except _GoneError:
            return
        await _send(reply, send)

    async def _reply(self, asked: Asked, scope: Scope, receive: Receive) -> Reply:
        held = self._fleet.held.get(asked.model)
        if held is None:
            raise Rejection(404, self._no_model(asked.model))
        headers = dict(scope["headers"])
        pinned = asked.version or headers.get(VERSION, b"").decode("latin-1").strip() or None
        if asked.verb not in VERBS:
            raise Rejection(404, f"A model has no {asked.verb!r} here: it has {', '.join(VERBS)}.")
        if asked.verb in ("predict", "infer"):
            _check_method(scope, "POST")
            served = choose(held, pinned)
            body = await _body(headers, receive, self._limits.max_body_bytes)
            try:
                return self._answer(asked.verb, body, headers, served)
            except Rejection as rejection:
                return refused(rejection, served.header)
        _check_method(scope, "GET", "HEAD")
        return _told(asked.verb, held, pinned, headers)

    def _answer(
        self, verb: str, body: bytes, headers: Mapping[bytes, bytes], served: Served
    ) -> Reply:
        started = time.perf_counter()
        rows = self._limits.max_rows
        if verb == "predict":
            answers = served.scorer.score(protocol.read_v1(body, served, rows))
            written = protocol.answer_v1(answers)
        else:
            length = headers.get(b"inference-header-content-length")
            inference = protocol.read_v2(body, length, served, rows)
            answers = served.scorer.score(inference.columns)
            written = protocol.answer_v2(inference, answers, served)
        self._observe(served.manifest.model, time.perf_counter() - started)
        return _json(200, written, served.header)

    def _no_model(self, name: str) -> str:
        known = ", ".join(sorted(self._fleet.held)) or "none yet"
        return f"There is no model {orjson.dumps(name[:100]).decode()} here: there is {known}."

    def _for_browsers(self, scope: Scope) -> Scope:
        # KServe's V1 client asks `/` whether the server lives and wants JSON; a browser, which
        # alone names text/html, wants the page.
        if not self._page or scope.get("path") != "/":
            return scope
        if any(name == b"accept" and b"text/html" in value for name, value in scope["headers"]):
            return {**scope, "path": "/index.html", "raw_path": b"/index.html"}
        return scope


class _GoneError(Exception):
    """Who asked has hung up."""


def asked_of(path: str) -> Asked | None:
    """Return what a path asks of a model, or nothing when it is for KServe's own routes."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    if found["model_v1"] is not None:
        return Asked(found["model_v1"], found["verb_v1"], None)
    return Asked(found["model_v2"], found["verb_v2"] or "metadata", found["version"])


def choose(held: Held, pinned: str | None) -> Served:
    """Return the version that is to answer: the one that is asked for, or the champion.

    Raises
    ------
    Rejection
        404 for a version that is not held, 503 while there is no champion.
    """
    if pinned is None:
        if held.champion is None:
            raise _no_champion(held)
        return held.champion
    served = held.versions.get(pinned)
    if served is None:
        known = " and ".join(sorted(held.versions, key=int)) or "none yet"
        raise Rejection(
            404,
            f"Version {orjson.dumps(pinned[:100]).decode()} of {held.model} is not held here: "
            f"there is {known}.",
        )
    return served


def refused(rejection: Rejection, *headers: Header) -> Reply:
    """Return a refusal as an answer."""
    body = orjson.dumps(rejection.document)
    extra = [(name.encode(), value.encode()) for name, value in rejection.headers.items()]
    return _json(rejection.status, body, *headers, *extra)


def _told(verb: str, held: Held, pinned: str | None, headers: Mapping[bytes, bytes]) -> Reply:
    if verb == "metadata":
        served = choose(held, pinned) if pinned or held.champion else None
        body = orjson.dumps(protocol.metadata(held, served))
        return _json(200, body, *([served.header] if served else []))
    served = choose(held, pinned)
    if verb == "ready":
        return _json(200, orjson.dumps({"name": held.model, "ready": True}), served.header)
    card = protocol.card(held, served)
    tag = f'"{sha256(card).hexdigest()[:32]}"'.encode()
    same = tag in headers.get(b"if-none-match", b"")
    kept = ((b"etag", tag), (b"cache-control", b"no-cache"), (b"vary", VERSION), served.header)
    return Reply(304, list(kept), b"") if same else _json(200, card, *kept)


def _no_champion(held: Held) -> Rejection:
    pin = (
        ""
        if held.challenger is None
        else f", or name version {held.challenger.version} in the header {VERSION.decode()}"
    )
    return Rejection(
        503,
        f"{held.model} has no champion on the road yet: ask again later{pin}.",
        headers={"retry-after": RETRY_SECONDS},
    )


def _check_method(scope: Scope, *allowed: str) -> None:
    if scope["method"] not in allowed:
        names = ", ".join(allowed)
        raise Rejection(405, f"This address answers {names} only.", headers={"allow": names})


async def _body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Rejection(415, "The body is compressed: send it as it is.")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise _too_large(limit)
    body = bytearray()
    while True:
        message = await _received(receive)
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)


async def _received(receive: Receive) -> Message:
    try:
        return await receive()
    except asyncio.CancelledError:
        # uvicorn cancels what is still waiting for its body when the time to stop is up
        raise Rejection(
            408, "The body did not arrive before the server had to stop: send it again."
        ) from None


def _too_large(limit: int) -> Rejection:
    return Rejection(
        413, f"The body is too large: send at most {limit} bytes, in several requests."
    )


def _json(status: int, body: bytes, *headers: Header) -> Reply:
    length = str(len(body)).encode()
    return Reply(
        status,
        [
            (b"content-type", b"application/json"),
            (b"content-length", length),
            (b"x-content-type-options", b"nosniff"),
            *headers,
        ],
        body,
    )


async def _send(reply: Reply, send: Send) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})
