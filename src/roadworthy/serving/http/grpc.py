"""The Open Inference Protocol over gRPC: the same answers, refusals and sentences as over HTTP."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from grpc import StatusCode, aio

from roadworthy.bundles.scoring import Columns
from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http import app, protocol
from roadworthy.serving.http.connection import Load
from roadworthy.serving.http.guard import is_shown, unknown
from roadworthy.serving.http.repository import Repository
from roadworthy.serving.models.model_store import Fleet, Served
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.traffic import Question, Refused, Traffic, choose, find
from roadworthy.serving.settings import ServerError, ServerSettings

_OPEN_METHODS = frozenset({"ServerLive", "ServerReady", "ModelReady"})
"""What is answered without a token."""
_CODES = {
    401: StatusCode.UNAUTHENTICATED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.FAILED_PRECONDITION,
    503: StatusCode.UNAVAILABLE,
}
"""The code of a refusal; any other is an invalid argument."""
_CONTENTS = {
    **{n: f"{n.lower()}_contents" for n in ("INT64", "UINT64", "FP32", "FP64", "BOOL", "BYTES")},
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}
"""Where a tensor of a datatype has its values."""


class GRPCServer:
    """Answers over gRPC, in the loop that is running.

    Parameters
    ----------
    settings
        Where to listen, and the limits.
    fleet
        The models.
    traffic
        Decides which version answers.
    repository
        Loads and unloads.
    load
        How many requests are being answered.
    shared
        Whether other processes listen at the port as well.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        fleet: Fleet,
        traffic: Traffic,
        repository: Repository,
        load: Load,
        shared: bool,
    ) -> None:
        self._settings = settings
        self._methods = _Methods(fleet, traffic, repository, settings.max_rows)
        self._load = load
        self._shared = shared
        self._server: Any = None

    async def start(self) -> None:
        """Answer from now on. The processes of one server share the port.

        Raises
        ------
        ServerError
            The port is taken, or there is no such address.
        """
        settings = self._settings
        self._server = aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_metadata_size", settings.max_header_bytes),
                ("grpc.so_reuseport", int(self._shared)),
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

    async def stop(self) -> None:
        """Answer what was asked, within the grace period, and no more."""
        if self._server is not None:
            await self._server.stop(self._settings.grace_seconds)

    def _handler(self, method: Any) -> Any:
        answer: Callable[[Any, Any], Awaitable[Any]] = getattr(self._methods, method.name)

        async def handle(request: Any, context: Any) -> Any:
            self._load.in_flight += 1
            try:
                self._check_token(method.name, context)
                if request is None:
                    raise Rejection(400, "The message cannot be read: send one of the protocol.")  # noqa: TRY301
                return await answer(request, context)
            except Refused as refused:  # which is counted as the version's
                rejection = refused.rejection
            except Rejection as refusal:
                rejection = refusal
                self._load.refused("grpc", rejection.status)
            finally:
                self._load.in_flight -= 1
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
        shown = _metadata(context).get("authorization")
        encoded = shown.encode() if isinstance(shown, str) else shown
        if not is_shown(encoded, token):
            raise unknown(encoded)


class _Methods:
    """The methods of the service, named as in its definition."""

    def __init__(
        self, fleet: Fleet, traffic: Traffic, repository: Repository, max_rows: int
    ) -> None:
        self._fleet = fleet
        self._traffic = traffic
        self._repository = repository
        self._max_rows = max_rows

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return pb.ServerReadyResponse(ready=self._fleet.ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return pb.ServerMetadataResponse(**app.metadata())

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        held = find(self._fleet, request.name)
        if request.version:
            choose(held, request.version)
        return pb.ModelReadyResponse(ready=bool(request.version) or held.champion is not None)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        held = find(self._fleet, request.name)
        served = choose(held, request.version) if request.version else held.champion
        return pb.ModelMetadataResponse(**protocol.metadata(held, served))

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        held = find(self._fleet, request.model_name)
        pinned = request.model_version or _metadata(context).get(VERSION_HEADER) or None
        document, tail = _document(request)
        question: Question[protocol.Inference, Any] = Question(
            "grpc",
            lambda served: protocol.infer(document, tail, served, self._max_rows),
            _response,
        )
        answer = await self._traffic.answer(held, pinned, question)
        version = str(answer.served.version)
        await context.send_initial_metadata(((VERSION_HEADER, version),))
        return answer.written


def _document(request: Any) -> tuple[dict[str, Any], bytes]:
    """Return a request as the JSON of the protocol, and the tensors that are sent as bytes."""
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


def _response(inference: protocol.Inference, answers: Columns, served: Served) -> Any:
    response = pb.ModelInferResponse(
        model_name=served.manifest.model,
        model_version=str(served.version),
        id=inference.identity or "",
    )
    for output in protocol.outputs(inference, answers, served):
        datatype, data = output["datatype"], output["data"]
        values = [one.encode() for one in data] if datatype == "BYTES" else data
        tensor = response.outputs.add(name=output["name"], datatype=datatype, shape=output["shape"])
        getattr(tensor.contents, _CONTENTS[datatype]).extend(values)
    return response


def _decoded(value: bytes) -> str | bytes:
    """Return a string, or what is none as the bytes of a file."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _metadata(context: Any) -> dict[str, Any]:
    return dict(context.invocation_metadata() or ())


def _reader(message: Any) -> Callable[[bytes], Any]:
    """Return what parses a message, and returns None for one that cannot be read."""

    def read(encoded: bytes) -> Any:
        try:
            return message.FromString(encoded)
        except Exception:  # noqa: BLE001 - what protobuf raises has no common class
            return None

    return read


def _messages() -> Any:
    """Return the generated messages of the protocol, from KServe's package.

    Only this module of the package is loaded: to import it by its name would import a client of the
    Kubernetes API and pandas, which take half a server's memory and start-up time.
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
