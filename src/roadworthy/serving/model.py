"""A model as KServe's repository, readiness routes and every caller but our front see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from starlette.exceptions import HTTPException

from roadworthy.serving import protocol
from roadworthy.serving.fleet import Fleet, Held, Served
from roadworthy.serving.front import VERSION, choose
from roadworthy.serving.rejection import Rejection


class RoadModel(Model):  # type: ignore[misc]
    """One model of the fleet, whichever version is on the road.

    Parameters
    ----------
    name
        The model's name.
    fleet
        What holds its versions.
    max_rows
        The most rows of a request.
    """

    def __init__(self, name: str, fleet: Fleet, max_rows: int) -> None:
        super().__init__(name)
        self._fleet = fleet
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
        try:
            served = choose(self.held, (headers or {}).get(VERSION.decode()))
            if isinstance(payload, InferRequest):
                return self._infer(payload, served)
            columns = protocol.read_v1(orjson.dumps(payload), served, self._max_rows)
            return {"predictions": protocol.predictions(served.scorer.score(columns))}
        except (Rejection, orjson.JSONEncodeError) as error:
            if isinstance(error, Rejection) and error.status == 503:
                raise ModelNotReady(self.name, error.sentence) from error
            raise InvalidInput(str(error)) from error

    def _infer(self, payload: InferRequest, served: Served) -> InferResponse:
        document = {"inputs": [_tensor(part) for part in payload.inputs]}
        inference = protocol.infer(document, b"", served, self._max_rows)
        answers = served.scorer.score(inference.columns)
        return InferResponse(
            response_id=payload.id,
            model_name=self.name,
            model_version=str(served.version),
            infer_outputs=[InferOutput(**part) for part in protocol.outputs(inference, answers)],
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


class RoadRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """KServe's repository API over a fleet: the road decides what is loaded, not a request.

    To load is to ask whether a model is loaded; to unload is refused.
    """

    async def load(self, model_name: str) -> None:
        """Do nothing for a model that answers.

        Raises
        ------
        ModelNotFound, ModelNotReady
            There is no such model, or no champion of it.
        """
        model = self._model_registry.get_model(model_name)
        if model is None:
            raise ModelNotFound(model_name)
        if not model.load():
            raise ModelNotReady(model_name)

    async def unload(self, model_name: str) -> None:
        """Refuse.

        Raises
        ------
        ModelNotFound, HTTPException
            There is no such model; there is, and it stays (409).
        """
        if self._model_registry.get_model(model_name) is None:
            raise ModelNotFound(model_name)
        raise HTTPException(409, f"{model_name} is on the road. Roll it back to take it off")


def _tensor(part: Any) -> dict[str, Any]:
    """Return an input of KServe's as JSON would have it, also one that was sent as bytes."""
    values = part.as_numpy().ravel().tolist()
    words = [value.decode() if isinstance(value, bytes) else value for value in values]
    return {
        "name": part.name,
        "shape": list(part.shape),
        "datatype": part.datatype,
        "data": words,
    }
