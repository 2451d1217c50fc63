"""The Open Inference Protocol over gRPC, with the same answers and refusals as over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

# at each stop the library would log that its listening socket was closed
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from grpc import StatusCode, aio

from roadworthy.bundles.scoring import Columns
from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http import app, protocol
from roadworthy.serving.http.connection import Load
from roadworthy.serving.http.guard import has_token, unauthorized
from roadworthy.serving.http.repository import Repository
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore
from roadworthy.serving.models.rejection import Rejection, unavailable
from roadworthy.serving.models.traffic import RefusedError, Request, Traffic, choose, find
from roadworthy.serving.settings import ServerError, ServerSettings

_OPEN_METHODS = frozenset({"ServerLive", "ServerReady", "ModelReady"})
"""The methods that need no token."""
_CODES = {
    401: StatusCode.UNAUTHENTICATED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.FAILED_PRECONDITION,
    503: StatusCode.UNAVAILABLE,
}
"""The code of each status; all others are an invalid argument."""
_CONTENTS = {
    **{n: f"{n.lower()}_contents" for n in ("INT64", "UINT64", "FP32", "FP64", "BOOL", "BYTES")},
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}
"""The field with a tensor's values, by datatype."""
_MOST = (1 << 31) - 1
"""The greatest number of an option."""
_QUIET_SECONDS = 1.0
_TICK_SECONDS = 0.02


class GRPCServer:
    """Answers over gRPC, in the running event loop.

    A server that stops with ``grpc.aio`` alone cancels calls that arrive until clients learn of it.
    This one first closes its listening socket, so that new connections reach the other processes of
    the server. Connections end at a maximum age, without losing a call. At the end, calls in flight
    are answered, and others get UNAVAILABLE, which clients retry.

    Parameters
    ----------
    settings
        The address, and the limits.
    store
        The models.
    traffic
        Decides which version answers.
    repository
        Loads and unloads models.
    load
        The number of requests in flight, and how many connections each protocol may have.
    shared
        Whether other processes listen at the port as well.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        store: ModelStore,
        traffic: Traffic,
        repository: Repository,
        load: Load,
        shared: bool,
    ) -> None:
        self._settings = settings
        self._methods = _Methods(store, traffic, repository, settings.max_rows)
        self._load = load
        self._shared = shared
        self._server: Any = None
        self._in_flight = 0
        self._last_call = 0.0
        self._stopping = False

    @property
    def is_quiet(self) -> bool:
        """Whether no call has arrived for a second."""
        return not self._in_flight and time.monotonic() - self._last_call > _QUIET_SECONDS

    async def start(self) -> None:
        """Start to answer.

        Raises
        ------
        ServerError
            The port is in use, or the address does not exist.
        """
        settings = self._settings
        self._server = aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_metadata_size", settings.max_header_bytes),
                ("grpc.so_reuseport", int(self._shared)),
                ("grpc.max_allowed_incoming_connections", min(self._load.most_connections, _MOST)),
                # gRPC varies the age by 10 %: all connections end within the idle time-out
                ("grpc.max_connection_age_ms", settings.idle_seconds * 900),
                ("grpc.max_connection_age_grace_ms", int(settings.request_seconds * 1000)),
            ],
            maximum_concurrent_rpcs=settings.max_in_flight,
        )
        service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        handlers = {method.name: self._handler(method) for method in service.methods}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service.full_name, handlers),)
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise ServerError(
                f"The server cannot listen at {host} port {settings.grpc_port} for gRPC. Stop the "
                f"program that does, or choose another port with --grpc-port."
            ) from error
        await self._server.start()

    def stop_listening(self) -> None:
        """Take no more connections, and answer calls on those that there are."""
        for one in _sockets(self._settings.grpc_port):
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                _shut(one)

    async def stop(self) -> None:
        """Answer the calls in flight within the grace period, and refuse others."""
        if self._server is None:
            return
        self.stop_listening()
        self._stopping = True
        end = time.monotonic() + self._settings.grace_seconds
        while self._in_flight and time.monotonic() < end:
            await asyncio.sleep(_TICK_SECONDS)
        await asyncio.sleep(_TICK_SECONDS)  # in which the last response is sent
        for connection in _sockets(self._settings.grpc_port):
            _shut(connection)
        await self._server.stop(0)

    def _handler(self, method: Any) -> Any:
        answer: Callable[[Any, Any], Awaitable[Any]] = getattr(self._methods, method.name)

        async def handle(request: Any, context: Any) -> Any:
            self._load.in_flight += 1
            self._in_flight += 1
            self._last_call = time.monotonic()
            try:
                if self._stopping:
                    raise unavailable("The server is about to stop: retry.")
                self._check_token(method.name, context)
                if request is None:
                    raise Rejection(400, "The message cannot be read: send one of the protocol.")  # noqa: TRY301
                return await answer(request, context)
            except RefusedError as refused:  # it was counted as the version's
                rejection = refused.rejection
            except Rejection as refusal:
                rejection = refusal
                self._load.refused("grpc", rejection.status)
            finally:
                self._load.in_flight -= 1
                self._in_flight -= 1
            return await context.abort(
                _CODES.get(rejection.status, StatusCode.INVALID_ARGUMENT), rejection.sentence
            )

        return grpc.unary_unary_rpc_method_handler(
            handle,
            _reader(getattr(pb, method.input_type.name)),
            getattr(pb, method.output_type.name).SerializeToString,
        )

    def _check_token(self, method: str, context: Any) -> None:
        token = self._settings.token
        if token is None or method in _OPEN_METHODS:
            return
        header = _metadata(context).get("authorization")
        encoded = header.encode() if isinstance(header, str) else header
        if not has_token(encoded, token):
            raise unauthorized(encoded)


class _Methods:
    """The methods of the service, named as in its definition."""

    def __init__(
        self, store: ModelStore, traffic: Traffic, repository: Repository, max_rows: int
    ) -> None:
        self._store = store
        self._traffic = traffic
        self._repository = repository
        self._max_rows = max_rows

    async def ServerLive(self, _: Any, __: Any) -> Any:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, _: Any, __: Any) -> Any:  # noqa: N802
        return pb.ServerReadyResponse(ready=self._store.ready)

    async def ServerMetadata(self, _: Any, __: Any) -> Any:  # noqa: N802
        return pb.ServerMetadataResponse(**app.metadata())

    async def ModelReady(self, request: Any, _: Any) -> Any:  # noqa: N802
        model = find(self._store, request.name)
        if request.version:
            choose(model, request.version)
        loaded = bool(request.version) or model.champion is not None
        return pb.ModelReadyResponse(ready=loaded and not self._store.stopping)

    async def ModelMetadata(self, request: Any, _: Any) -> Any:  # noqa: N802
        model = find(self._store, request.name)
        loaded = choose(model, request.version) if request.version else model.champion
        return pb.ModelMetadataResponse(**protocol.metadata(model, loaded))

    async def RepositoryModelLoad(self, request: Any, _: Any) -> Any:  # noqa: N802
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, _: Any) -> Any:  # noqa: N802
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        model = find(self._store, request.model_name)
        pinned = request.model_version or _metadata(context).get(VERSION_HEADER) or None
        document, tail = _document(request)
        response = await self._traffic.respond(
            model,
            pinned,
            Request(
                "grpc",
                lambda loaded: protocol.infer(document, tail, loaded, self._max_rows),
                partial(_response, raw=bool(request.raw_input_contents)),
            ),
        )
        version = str(response.loaded.version)
        await context.send_initial_metadata(((VERSION_HEADER, version),))
        return response.content


def _sockets(port: int | None) -> Iterator[socket.socket]:
    """Yield this process's TCP sockets at a local port. The library gives no access to its own."""
    for file in Path("/dev/fd").iterdir():
        try:
            if not file.is_socket():
                continue
            one = socket.socket(fileno=os.dup(int(file.name)))
        except OSError:  # it was closed meanwhile
            continue
        with one:
            if one.family != socket.AF_UNIX and one.getsockname()[1] == port:
                yield one


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client has closed it
        one.shutdown(socket.SHUT_RDWR)


def _document(request: Any) -> tuple[dict[str, Any], bytes]:
    """Return a request as the JSON of the protocol, and its raw tensors."""
    packed = request.raw_input_contents
    if packed and len(packed) != len(request.inputs):
        raise Rejection(
            400, f"{len(request.inputs)} inputs have {len(packed)} raw contents: send one for each."
        )
    if packed and any(tensor.HasField("contents") for tensor in request.inputs):
        raise Rejection(400, "Inputs have both contents and raw contents: send either.")
    inputs = []
    for index, tensor in enumerate(request.inputs):
        one: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        if packed:
            one["parameters"] = {"binary_data_size": len(packed[index])}
        else:
            values = getattr(tensor.contents, _CONTENTS.get(tensor.datatype, ""), ())
            one["data"] = [_decoded(v) if isinstance(v, bytes) else v for v in values]
        inputs.append(one)
    document: dict[str, Any] = {"inputs": inputs, "id": request.id or None}
    document["outputs"] = [{"name": output.name} for output in request.outputs]
    return document, b"".join(packed)


def _response(
    inference: protocol.Inference, answers: Columns, loaded: LoadedVersion, *, raw: bool
) -> Any:
    """Return an answer as a message: raw contents where the request has them, as clients expect."""
    response = pb.ModelInferResponse(
        model_name=loaded.manifest.model,
        model_version=str(loaded.version),
        id=inference.identity or "",
    )
    for output in protocol.outputs(inference, answers, loaded):
        name, datatype, shape, values = output
        tensor = response.outputs.add(name=name, datatype=datatype, shape=shape)
        if raw:
            response.raw_output_contents.append(output.packed)
            continue
        data = values.tolist()
        getattr(tensor.contents, _CONTENTS[datatype]).extend(
            [one.encode() for one in data] if datatype == "BYTES" else data
        )
    return response


def _decoded(value: bytes) -> str | bytes:
    """Return the string, or the bytes of a file."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _metadata(context: Any) -> dict[str, Any]:
    return dict(context.invocation_metadata() or ())


def _reader(message: Any) -> Callable[[bytes], Any]:
    """Return a parser of messages, which returns None for a message that cannot be read."""

    def read(encoded: bytes) -> Any:
        try:
            return message.FromString(encoded)
        except Exception:  # noqa: BLE001 - what protobuf raises has no common class
            return None

    return read


def _messages() -> Any:
    """Return the generated messages of the protocol, from KServe's package.

    Only this module of the package is loaded: the package imports pandas and a client of the
    Kubernetes API, which take half of a server's memory and start-up time.
    """
    package = importlib.util.find_spec("kserve")
    if package is None or package.origin is None:
        raise ServerError("KServe is not installed. Install the packages of this project.")
    path = Path(package.origin).parent / "protocol" / "grpc" / "grpc_predict_v2_pb2.py"
    spec = importlib.util.spec_from_file_location("grpc_predict_v2_pb2", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ServerError(f"KServe has no {path}. Install the version that this project names.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pb = _messages()
