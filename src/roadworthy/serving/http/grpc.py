"""KServe's gRPC server over a fleet: the same answers, the same refusals, the same sentences."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import StatusCode, aio
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.infer_type import InferRequest
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from roadworthy.routing.routes import VERSION_HEADER
from roadworthy.serving.http.connection import Load
from roadworthy.serving.http.guard import is_shown, unknown
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.traffic import Refused
from roadworthy.serving.settings import ServerError, ServerSettings

_OPEN_METHODS = frozenset({"ServerLive", "ServerReady", "ModelReady"})
"""What is answered to who shows no token."""
_CODES = {
    401: StatusCode.UNAUTHENTICATED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.FAILED_PRECONDITION,
    503: StatusCode.UNAVAILABLE,
}
"""The code of a refusal; any other is an argument that is not valid."""


class RoadGRPCServer(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server, at the address we are told, in the loop that is running.

    Parameters
    ----------
    settings
        Where to listen, and the limits.
    data_plane
        What is asked.
    repository
        What loads and unloads.
    load
        What is asked for at the moment.
    shared
        Whether other processes listen at the port as well.
    """

    def __init__(
        self,
        settings: ServerSettings,
        data_plane: DataPlane,
        repository: ModelRepositoryExtension,
        *,
        load: Load,
        shared: bool = False,
    ) -> None:
        super().__init__(
            settings.grpc_port, data_plane, repository, {}, grace_period=settings.grace_seconds
        )
        self._settings = settings
        self._repository = repository
        self._load = load
        self._shared = shared

    async def start(self, max_workers: int = 1) -> None:  # noqa: ARG002 - KServe's signature
        """Answer from now on. The processes of one server share the port.

        Raises
        ------
        ServerError
            The port is taken, or there is no such address.
        """
        settings = self._settings
        self._server = aio.server(
            interceptors=(_Strict(settings.token, self._load),),
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_metadata_size", settings.max_header_bytes),
                ("grpc.so_reuseport", int(self._shared)),
            ],
            maximum_concurrent_rpcs=settings.max_in_flight,
        )
        servicer = RoadServicer(self._data_plane, self._repository)
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise ServerError(
                f"The server cannot listen at {host} port {settings.grpc_port} for gRPC. Stop the "
                f"program that does, or choose another port with --grpc-port."
            ) from error
        await self._server.start()

    async def stop(self, sig: int | None = None) -> None:  # noqa: ARG002 - KServe's signature
        """Answer what was asked, within the grace period, and no more."""
        if self._server is not None:
            await self._server.stop(self._grace_period)


class RoadServicer(InferenceServicer):  # type: ignore[misc]
    """KServe's servicer, which hears which version is asked for."""

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return whether a model is ready, or a version of it."""
        self._data_plane.check_version(request.name, request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Return the metadata of a model, with its versions."""
        self._data_plane.check_version(request.name, request.version)
        metadata = await self._data_plane.model_metadata(model_name=request.name)
        return pb.ModelMetadataResponse(**metadata)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer an inference."""
        self.validate_grpc_request(request)
        headers = dict(context.invocation_metadata() or ())
        if request.model_version:
            headers[VERSION_HEADER] = request.model_version
        response, _ = await self._data_plane.infer(
            request=_parsed(request), headers=headers, model_name=request.model_name
        )
        await context.send_initial_metadata(((VERSION_HEADER, str(response.model_version)),))
        return response.to_grpc()


def _parsed(request: Any) -> InferRequest:
    try:
        return InferRequest.from_grpc(request)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # KServe looks a datatype up before anything checks it
        raise InvalidInput(f"An input is not a tensor ({error}): send one per field.") from error


class _Unreadable:
    """A message that is none."""


class _Strict(aio.ServerInterceptor):  # type: ignore[misc]
    """Lets in who may ask, and tells every refusal as what it is."""

    def __init__(self, token: str | None, load: Load) -> None:
        self._token = token
        self._load = load

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None or not handler.unary_unary:
            return handler
        answer, refusal = handler.unary_unary, self._refusal(details)

        async def strict(request: Any, context: Any) -> Any:
            self._load.in_flight += 1
            try:
                if refusal is not None:
                    raise refusal
                if isinstance(request, _Unreadable):
                    raise Rejection(400, "The message cannot be read.")  # noqa: TRY301
                return await answer(request, context)
            except (Rejection, *_TOLD) as error:
                if not isinstance(error.__cause__, Refused):  # which a version has counted
                    self._load.refused("grpc", _status(error))
                await context.abort(*_told(error))
            finally:
                self._load.in_flight -= 1

        return grpc.unary_unary_rpc_method_handler(
            strict, _tolerant(handler.request_deserializer), handler.response_serializer
        )

    def _refusal(self, details: Any) -> Rejection | None:
        if self._token is None or details.method.rpartition("/")[2] in _OPEN_METHODS:
            return None
        shown = dict(details.invocation_metadata or ()).get("authorization")
        encoded = shown.encode() if isinstance(shown, str) else shown
        return None if is_shown(encoded, self._token) else unknown(encoded)


_TOLD = (InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady)


def _told(error: Exception) -> tuple[StatusCode, str]:
    """Return the code and the sentence of a refusal."""
    cause = error.__cause__
    match cause.rejection if isinstance(cause, Refused) else cause or error:
        case Rejection() as rejection:
            return _code(rejection.status), rejection.sentence
    match error:
        case ModelNotFound():
            return StatusCode.NOT_FOUND, str(error)
        case ModelNotReady() | ServerNotReady():
            return StatusCode.UNAVAILABLE, str(error)
        case _:
            return StatusCode.INVALID_ARGUMENT, str(error)


def _status(error: Exception) -> int:
    match error.__cause__ or error:
        case Rejection() as rejection:
            return rejection.status
        case ModelNotFound():
            return 404
        case ModelNotReady() | ServerNotReady():
            return 503
        case _:
            return 400


def _code(status: int) -> StatusCode:
    return _CODES.get(status, StatusCode.INVALID_ARGUMENT)


def _tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def tolerant(message: bytes) -> Any:
        try:
            return read(message)
        except Exception:  # noqa: BLE001 - what protobuf raises has no common class
            return _Unreadable()

    return tolerant
