"""Answers the requests to a model; all others are passed on to the application.

This is a plain ASGI middleware around the application. A prediction so passes none of the layers
and routing of a framework, which cost more than the model.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http import protocol
from roadworthy.serving.models.metrics import CONTENT_TYPE, Metrics
from roadworthy.serving.models.model_store import Fleet, Held
from roadworthy.serving.models.rejection import Rejection, too_large
from roadworthy.serving.models.traffic import Question, Refused, Traffic, choose, find

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

VERSION = VERSION_HEADER.encode()
"""Names the version that answered; in a request, the version that is to answer."""
METRICS = "/metrics"
COUNTED = "roadworthy.counted"
"""The key of a scope that says that a refusal was counted as a version's."""
VERBS = ("predict", "infer", "metadata", "ready", "card")
"""What can be asked of a model."""

_FORM = b"multipart/form-data"
_MOST_PARTS = 100
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
    traffic
        Decides which version answers.
    metrics
        What the server tells of itself.
    page
        Whether ``/`` has a page for browsers.
    """

    def __init__(
        self,
        app: App,
        *,
        fleet: Fleet,
        limits: Limits,
        traffic: Traffic,
        metrics: Metrics,
        page: bool = False,
    ) -> None:
        self._app = app
        self._fleet = fleet
        self._limits = limits
        self._metrics = metrics
        self._traffic = traffic
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = asked_of(scope["path"]) if scope["type"] == "http" else None
        if asked is None and scope.get("path") == METRICS:
            await _send(await self._figures(scope), send)
            return
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
        held = find(self._fleet, asked.model)
        headers = dict(scope["headers"])
        pinned = asked.version or headers.get(VERSION, b"").decode("latin-1").strip() or None
        if asked.verb not in VERBS:
            raise Rejection(404, f"A model has no {asked.verb!r} here: it has {', '.join(VERBS)}.")
        if asked.verb in ("predict", "infer"):
            _check_method(scope, "POST")
            choose(held, pinned)  # whom nobody can answer is told so, whatever was sent
            body = await _body(headers, receive, self._limits.max_body_bytes)
            return await self._answer(asked.verb, body, scope, headers, held, pinned)
        _check_method(scope, "GET", "HEAD")
        return _told(asked.verb, held, pinned, headers)

    async def _answer(
        self,
        verb: str,
        body: bytes,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        held: Held,
        pinned: str | None,
    ) -> Reply:
        rows = self._limits.max_rows
        question: Question[Any, bytes]
        if verb == "predict" and headers.get(b"content-type", b"").startswith(_FORM):
            form = await _form(headers, body)
            question = Question(
                "v1",
                lambda served: protocol.read_form(form, served),
                lambda _, answers, __: protocol.answer_v1(answers),
            )
        elif verb == "predict":
            question = Question(
                "v1",
                lambda served: protocol.read_v1(body, served, rows),
                lambda _, answers, __: protocol.answer_v1(answers),
            )
        else:
            length = headers.get(b"inference-header-content-length")
            question = Question(
                "v2",
                lambda served: protocol.read_v2(body, length, served, rows),
                protocol.answer_v2,
            )
        try:
            answer = await self._traffic.answer(held, pinned, question)
        except Refused as refusal:
            scope[COUNTED] = True
            return refused(refusal.rejection, refusal.served.header)
        return _json(200, answer.written, answer.served.header)

    async def _figures(self, scope: Scope) -> Reply:
        try:
            _check_method(scope, "GET", "HEAD")
        except Rejection as rejection:
            return refused(rejection)
        return Reply(200, [(b"content-type", CONTENT_TYPE)], await self._metrics.text())

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
    """Return what a path asks of a model, or nothing when it is for the application's routes."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    if found["model_v1"] is not None:
        return Asked(found["model_v1"], found["verb_v1"], None)
    return Asked(found["model_v2"], found["verb_v2"] or "metadata", found["version"])


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


def _check_method(scope: Scope, *allowed: str) -> None:
    if scope["method"] not in allowed:
        names = ", ".join(allowed)
        raise Rejection(405, f"This address answers {names} only.", headers={"allow": names})


async def _body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"identity", b"gzip", b""):
        raise Rejection(
            415,
            "The body is compressed otherwise than by gzip: send it as it is, or by gzip.",
            headers={"accept-encoding": "gzip, identity"},
        )
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise too_large(limit)
    body = bytearray()
    while True:
        message = await _received(receive)
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return _unpacked(body, limit) if coding == b"gzip" else bytes(body)


async def _form(headers: Mapping[bytes, bytes], body: bytes) -> list[tuple[str, str | bytes]]:
    """Return the parts of a form: the text of each field, and the content of each file.

    Raises
    ------
    Rejection
        400, it is not a form.
    """

    async def stream() -> AsyncGenerator[bytes]:
        yield body

    raw = Headers(raw=list(headers.items()))
    try:
        form = await MultiPartParser(
            raw, stream(), max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=len(body)
        ).parse()
    except (MultiPartException, KeyError) as error:
        raise Rejection(
            400, f"The body is not a form ({error}): send its fields and files."
        ) from None
    try:
        return [
            (name, part if isinstance(part, str) else await part.read())
            for name, part in form.multi_items()
        ]
    finally:
        await form.close()


def _unpacked(body: bytearray, limit: int) -> bytes:
    """Return what a body holds that is compressed by gzip, of which no more is made than allowed.

    Raises
    ------
    Rejection
        400 for what is not gzip, 413 for more than the limit.
    """
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        found = gzip.decompress(body, limit + 1)
    except zlib.error as error:
        raise Rejection(400, f"The body is not gzip ({error}): send it as it is.") from None
    if len(found) > limit:
        raise too_large(limit)
    if not gzip.eof or gzip.unused_data:
        raise Rejection(400, "The body is not one whole gzip member: send it as it is.")
    return found


async def _received(receive: Receive) -> Message:
    try:
        return await receive()
    except asyncio.CancelledError:
        # uvicorn cancels what is still waiting for its body when the time to stop is up
        raise Rejection(
            408, "The body did not arrive before the server had to stop: send it again."
        ) from None


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
