"""The requests to a model; all others are passed on to the application.

This is plain ASGI around the application: a prediction passes none of a framework's layers, which
take longer than the model.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from roadworthy.models.routes import Latest
from roadworthy.routing import latest
from roadworthy.routing.routes import VERSION_HEADER, RoutingError
from roadworthy.serving.http import protocol
from roadworthy.serving.models.get_route import GetRoute, RouteRequest
from roadworthy.serving.models.metrics import CONTENT_TYPE, Metrics
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore, ModelVersions
from roadworthy.serving.models.rejection import Rejection, too_large, unavailable
from roadworthy.serving.models.traffic import RefusedError, Request, Traffic, choose, find
from roadworthy.serving.settings import ServerSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

VERSION = VERSION_HEADER.encode()
COUNTED = "roadworthy.counted"
"""The key of a scope whose refusal is counted as a version's."""
_DOCUMENTS = ("metadata", "ready", "card")
_PREDICTIONS = ("predict", "infer")

_FORM = b"multipart/form-data"
_MOST_PARTS = 100
_PATH = re.compile(
    r"/v1/models/(?P<model_v1>[^/:]+)(?::(?P<verb_v1>[^/:]*))?"
    r"|/v2/models/(?P<model_v2>[^/]+)(?:/versions/(?P<version>[^/]+))?"
    r"(?:/(?P<verb_v2>infer|ready|card))?"
)


class Target(NamedTuple):
    """The model, verb and version of a path. The verb may be unknown."""

    model: str
    verb: str
    version: str | None

    @property
    def is_document(self) -> bool:
        """Whether it answers GET and HEAD. All others answer POST."""
        return self.verb in _DOCUMENTS


class Reply(NamedTuple):
    """A complete response."""

    status: int
    headers: list[Header]
    body: bytes


class ModelRoutes:
    """Answers the requests to a model.

    Parameters
    ----------
    app
        Answers all other requests.
    store
        The models.
    limits
        The settings with the limits of a request.
    traffic
        Decides which version answers.
    metrics
        The metrics of the server.
    page
        Whether ``/`` has a page for browsers.
    """

    def __init__(
        self,
        app: App,
        *,
        store: ModelStore,
        limits: ServerSettings,
        traffic: Traffic,
        metrics: Metrics,
        page: bool = False,
    ) -> None:
        self._app = app
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._traffic = traffic
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        target = parse_path(path)
        model = None if target else self._with_route(path)
        if target is None and model is None and path != "/metrics":
            await self._app(self._for_browsers(scope), receive, send)
            return
        try:
            if target is not None:
                reply = await self._reply(target, scope, receive)
            elif model is not None:
                reply = await self._route(model, path, scope)
            else:
                _check_method(scope, "GET", "HEAD")
                reply = Reply(200, [(b"content-type", CONTENT_TYPE)], await self._metrics.text())
        except Rejection as rejection:
            reply = refused(rejection)
        except _DisconnectedError:
            return
        head = {"status": reply.status, "headers": reply.headers}
        await send({"type": "http.response.start", **head})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, target: Target, scope: Scope, receive: Receive) -> Reply:
        model = find(self._store, target.model)
        headers = dict(scope["headers"])
        pinned = target.version or headers.get(VERSION, b"").decode("latin-1").strip() or None
        if target.is_document:
            _check_method(scope, "GET", "HEAD")
            return _document(target.verb, model, pinned, headers)
        if target.verb not in _PREDICTIONS:
            known = ", ".join((*_PREDICTIONS, *_DOCUMENTS))
            raise Rejection(404, f"A model has no {target.verb!r} here: it has {known}.")
        _check_method(scope, "POST")
        choose(model, pinned)  # if no version can answer, the body does not matter
        body = await _body(headers, receive, self._limits.max_body_bytes)
        return await self._respond(
            scope, model, pinned, await self._request(target.verb, body, headers)
        )

    def _with_route(self, path: str) -> ModelVersions | None:
        """Return the model with a route of that path, the first by name if there are several."""
        models = sorted(self._store.models.items())
        return next(
            (m for _, m in models if any(path in one.routes for one in m.versions.values())), None
        )

    async def _route(self, model: ModelVersions, path: str, scope: Scope) -> Reply:
        _check_method(scope, "GET", "HEAD")
        pinned = dict(scope["headers"]).get(VERSION, b"").decode("latin-1").strip() or None
        newest = _latest(self._limits.latest_directory, model.name)

        def found(loaded: LoadedVersion) -> GetRoute:
            if path not in loaded.routes:
                raise Rejection(404, f"Version {loaded.version} of {model.name} has no {path}.")
            return loaded.routes[path]

        def parse(loaded: LoadedVersion) -> RouteRequest:
            alias = "champion" if loaded is model.champion else "challenger"
            described = {"name": model.name, "version": loaded.version, "alias": alias}
            return found(loaded).read(scope["query_string"], newest, described)

        request = Request(
            "http",
            parse,
            lambda parsed, answers, loaded: protocol.Body(found(loaded).respond(parsed, answers)),
        )
        return await self._respond(scope, model, pinned, request)

    async def _respond(
        self,
        scope: Scope,
        model: ModelVersions,
        pinned: str | None,
        request: Request[Any, protocol.Body],
    ) -> Reply:
        try:
            response = await self._traffic.respond(model, pinned, request)
        except RefusedError as refusal:
            scope[COUNTED] = True
            return refused(refusal.rejection, refusal.loaded.header)
        content, json_length = response.content
        if json_length is None:
            return _json(200, content, response.loaded.header)
        length = (protocol.JSON_LENGTH, str(json_length).encode())
        return _reply(200, b"application/octet-stream", content, length, response.loaded.header)

    async def _request(
        self, verb: str, body: bytes, headers: Mapping[bytes, bytes]
    ) -> Request[Any, protocol.Body]:
        rows = self._limits.max_rows
        if verb == "infer":
            length = headers.get(protocol.JSON_LENGTH)
            return Request(
                "v2",
                lambda loaded: protocol.read_v2(body, length, loaded, rows),
                protocol.answer_v2,
            )
        if headers.get(b"content-type", b"").startswith(_FORM):
            form = await _form(headers, body)
            parse = lambda loaded: protocol.read_form(form, loaded)  # noqa: E731
        else:
            parse = lambda loaded: protocol.read_v1(body, loaded, rows)  # noqa: E731
        return Request("v1", parse, lambda _, answers, __: protocol.answer_v1(answers))

    def _for_browsers(self, scope: Scope) -> Scope:
        # KServe's V1 client requests `/` to see whether the server lives, and expects JSON. Only
        # browsers accept text/html, and get the page.
        if not self._page or scope["path"] != "/":
            return scope
        if any(name == b"accept" and b"text/html" in value for name, value in scope["headers"]):
            return {**scope, "path": "/index.html", "raw_path": b"/index.html"}
        return scope


class _DisconnectedError(Exception):
    """The client has closed the connection."""


def parse_path(path: str) -> Target | None:
    """Return the target of a path, or None for the application's paths."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    if found["model_v1"] is not None:
        verb = "ready" if found["verb_v1"] is None else found["verb_v1"]
        return Target(found["model_v1"], verb, None)
    return Target(found["model_v2"], found["verb_v2"] or "metadata", found["version"])


def refused(rejection: Rejection, *headers: Header) -> Reply:
    """Return a rejection as a response."""
    body = orjson.dumps(rejection.document)
    extra = [(name.encode(), value.encode()) for name, value in rejection.headers.items()]
    return _json(rejection.status, body, *headers, *extra)


def _document(
    verb: str, model: ModelVersions, pinned: str | None, headers: Mapping[bytes, bytes]
) -> Reply:
    if verb == "metadata":
        described = choose(model, pinned) if pinned or model.champion else None
        body = orjson.dumps(protocol.metadata(model, described))
        return _json(200, body, *([described.header] if described else []))
    loaded = choose(model, pinned)
    if verb == "ready":
        return _json(200, orjson.dumps({"name": model.name, "ready": True}), loaded.header)
    card = protocol.card(model, loaded)
    tag = f'"{sha256(card).hexdigest()[:32]}"'.encode()
    kept = ((b"etag", tag), (b"cache-control", b"no-cache"), (b"vary", VERSION), loaded.header)
    if tag in headers.get(b"if-none-match", b""):
        return Reply(304, list(kept), b"")
    return _json(200, card, *kept)


def _latest(directory: Path | None, model: str) -> Latest | None:
    try:
        return None if directory is None else latest.read(directory, model)
    except RoutingError as error:
        raise unavailable(str(error)) from error


def _check_method(scope: Scope, *allowed: str) -> None:
    if scope["method"] not in allowed:
        names = ", ".join(allowed)
        raise Rejection(405, f"This path answers {names} only.", headers={"allow": names})


async def _body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"identity", b"gzip", b""):
        raise Rejection(
            415,
            "The content-encoding is not gzip: send the body uncompressed, or by gzip.",
            headers={"accept-encoding": "gzip, identity"},
        )
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise too_large(limit)
    body = bytearray()
    while True:
        try:
            message = await receive()
        except asyncio.CancelledError:
            # uvicorn cancels requests that wait for their body at the end of its grace period
            raise Rejection(
                408, "The body did not arrive before the server had to stop: send it again."
            ) from None
        if message["type"] == "http.disconnect":
            raise _DisconnectedError
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return _decompressed(body, limit) if coding == b"gzip" else bytes(body)


async def _form(headers: Mapping[bytes, bytes], body: bytes) -> list[tuple[str, str | bytes]]:
    """Return the parts of a form: the text of each field, and the content of each file.

    Raises
    ------
    Rejection
        400 for a body that is not a form.
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


def _decompressed(body: bytearray, limit: int) -> bytes:
    """Return the content of a gzip body, of which no more than the limit is decompressed.

    Raises
    ------
    Rejection
        400 for a body that is not gzip, 413 for more than the limit.
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


def _json(status: int, body: bytes, *headers: Header) -> Reply:
    return _reply(status, b"application/json", body, *headers)


def _reply(status: int, kind: bytes, body: bytes, *headers: Header) -> Reply:
    length = str(len(body)).encode()
    return Reply(
        status,
        [
            (b"content-type", kind),
            (b"content-length", length),
            (b"x-content-type-options", b"nosniff"),
            *headers,
        ],
        body,
    )
