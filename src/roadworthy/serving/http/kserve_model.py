"""A model as KServe's repository, readiness routes and every caller but our front see it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ModelNotReady
from kserve.protocol.dataplane import DataPlane

from roadworthy.bundles.scoring import Columns
from roadworthy.models import tensors
from roadworthy.serving.http import protocol
from roadworthy.serving.http.front import VERSION
from roadworthy.serving.models.model_store import Fleet, Held, Served
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.traffic import Question, Refused, Traffic, choose


class RoadModel(Model):  # type: ignore[misc]
    """One model of the fleet, whichever version is on the road.

    Parameters
    ----------
    name
        The model's name.
    fleet
        What holds its versions.
    traffic
        Decides which version answers.
    max_rows
        The most rows of a request.
    """

    def __init__(self, name: str, fleet: Fleet, traffic: Traffic, max_rows: int) -> None:
        super().__init__(name)
        self._fleet = fleet
        self._traffic = traffic
        self._max_rows = max_rows

    @property
    def held(self) -> Held:
        """The versions that are held now."""
        return self._fleet.held.get(self.name, Held(self.name))

    async def healthy(self) -> bool:
        """Whether there is a champion."""
        return self.load()

    def load(self) -> bool:
        """Return whether there is a champion: the road says what is loaded, not a request."""
        self.ready = self.held.champion is not None
        return self.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the V2 description of the inputs."""
        return protocol.input_types(self.held.champion)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the V2 description of the outputs."""
        return protocol.output_types(self.held.champion)

    async def predict(
        self,
        payload: dict[str, Any] | InferRequest,
        headers: Mapping[str, str] | None = None,
        response_headers: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> dict[str, Any] | InferResponse:
        """Answer what did not come through the front, as strictly as the front does.

        Raises
        ------
        InvalidInput
            The request is refused.
        ModelNotReady
            There is no champion.
        """
        question = (
            self._inference(payload)
            if isinstance(payload, InferRequest)
            else self._instances(payload)
        )
        pinned = (headers or {}).get(VERSION.decode())
        try:
            answer = await self._traffic.answer(self.held, pinned, question)
        except Refused as refusal:
            raise self._told(refusal.rejection) from refusal
        except Rejection as rejection:
            raise self._told(rejection) from rejection
        return answer.written

    def _told(self, rejection: Rejection) -> Exception:
        told: Exception = InvalidInput(rejection.sentence)
        if rejection.status == 503:
            told = ModelNotReady(self.name, rejection.sentence)
        return told

    def _instances(self, payload: Mapping[str, Any]) -> Question[Any, Any]:
        def read(served: Served) -> protocol.Instances:
            try:
                body = orjson.dumps(payload)
            except orjson.JSONEncodeError as error:
                raise Rejection(400, f"The body is not JSON ({error}): send JSON.") from error
            return protocol.read_v1(body, served, self._max_rows)

        return Question(
            "v1", read, lambda _, answers, __: {"predictions": tensors.records(answers)}
        )

    def _inference(self, payload: InferRequest) -> Question[Any, Any]:
        def write(read: protocol.Inference, answers: Columns, served: Served) -> InferResponse:
            return InferResponse(
                response_id=payload.id,
                model_name=self.name,
                model_version=str(served.version),
                infer_outputs=[
                    InferOutput(**part) for part in protocol.outputs(read, answers, served)
                ],
            )

        document = {
            "inputs": [_tensor(part) for part in payload.inputs],
            "outputs": [{"name": part.name} for part in payload.request_outputs or ()],
        }
        return Question(
            "grpc" if payload.from_grpc else "v2",
            lambda served: protocol.infer(document, b"", served, self._max_rows),
            write,
        )


class RoadDataPlane(DataPlane):  # type: ignore[misc]
    """KServe's data plane, ready only while a champion is loaded.

    Parameters
    ----------
    model_registry
        KServe's repository of models.
    fleet
        What holds their versions.
    """

    def __init__(self, model_registry: Any, fleet: Fleet) -> None:
        super().__init__(model_registry)
        self._fleet = fleet

    async def ready(self) -> bool:
        """Whether a champion is loaded; KServe's own says yes whatever is loaded."""
        return self._fleet.ready

    def check_version(self, model: str, version: str) -> None:
        """See that a version of a model is held, where one is named.

        Raises
        ------
        Rejection
            404, it is not. A model that is not known is for KServe to refuse.
        """
        held = self._fleet.held.get(model)
        if held is not None and version:
            choose(held, version)


def _tensor(part: Any) -> dict[str, Any]:
    """Return an input of KServe's as JSON would have it, also one that was sent as bytes."""
    try:
        values = part.as_numpy().ravel().tolist()
        strings = [_decoded(value) if isinstance(value, bytes) else value for value in values]
    except (ValueError, TypeError, OverflowError, struct.error) as error:
        raise InvalidInput(
            f"The input {part.name[:100]} is not what its shape and datatype say ({error}): "
            f"send a list of values."
        ) from None
    return {
        "name": part.name,
        "shape": list(part.shape),
        "datatype": part.datatype,
        "data": strings,
    }


def _decoded(value: bytes) -> str | bytes:
    """Return a string, or what is none as the bytes of a file."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
