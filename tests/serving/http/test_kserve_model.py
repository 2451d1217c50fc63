"""The model as KServe's data plane sees it: the way of gRPC, and of whoever embeds the server."""

import asyncio

import numpy as np
import pytest
from kserve import InferInput, InferRequest, ModelRepository
from kserve.errors import InvalidInput, ModelNotReady

from roadworthy.serving.http.kserve_model import RoadDataPlane, RoadModel
from roadworthy.serving.http.repository import RoadRepository
from roadworthy.serving.models.circuit_breaker import Trial
from roadworthy.serving.models.metrics import Metrics
from roadworthy.serving.models.model_store import Fleet, Held
from roadworthy.serving.models.rejection import Rejection
from roadworthy.serving.models.traffic import Traffic

CAR = {"weight_kg": 1200, "year": 1980}


@pytest.fixture
def fleet(served) -> Fleet:
    fleet = Fleet()
    champion, challenger = served
    fleet.hold(Held("fuel", champion, challenger, trial=Trial(challenger.scorer)))
    return fleet


@pytest.fixture
def repository(fleet) -> ModelRepository:
    repository = ModelRepository()
    repository.update(RoadModel("fuel", fleet, Traffic(Metrics(fleet)), max_rows=10))
    return repository


@pytest.fixture
def plane(repository, fleet) -> RoadDataPlane:
    return RoadDataPlane(repository, fleet)


def infer(plane: RoadDataPlane, request: object, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(plane.infer("fuel", request, names))[0]


def cars(weight: float) -> InferRequest:
    tensors = [
        InferInput("weight_kg", [1], "FP64", [weight]),
        InferInput("year", [1], "INT64", [1980]),
        InferInput("origin", [1], "BYTES"),
    ]
    tensors[2].set_data_from_numpy(np.array([b"usa"], object))
    return InferRequest("fuel", tensors, request_id="a")


def test_both_protocols_answer_alike_with_the_version_that_is_asked_for(plane):
    v1 = infer(plane, {"instances": [CAR | {"origin": "usa"}]})
    v2 = infer(plane, cars(1200.0))
    pinned = infer(plane, cars(1200.0), x_roadworthy_version="2")

    assert {output.name: output.data[0] for output in v2.outputs} == v1["predictions"][0]
    assert (v2.id, v2.model_version, pinned.model_version) == ("a", "1", "2")


@pytest.mark.parametrize(
    "request_", [{"instances": [{"year": 1980}]}, {"instances": ["\ud800"]}, {}, cars(3.0)]
)
def test_what_the_front_refuses_is_invalid_here(plane, request_):
    with pytest.raises(InvalidInput):
        infer(plane, request_)


def test_a_version_that_is_not_held_is_invalid(plane):
    with pytest.raises(InvalidInput, match="there is 1 and 2"):
        infer(plane, cars(1200.0), x_roadworthy_version="5")


def test_without_a_champion_nothing_is_ready(plane, fleet, repository):
    assert asyncio.run(plane.ready())
    assert asyncio.run(plane.model_ready("fuel"))

    fleet.hold(Held("fuel"))

    assert not asyncio.run(plane.ready())
    assert not asyncio.run(plane.model_ready("fuel"))
    with pytest.raises(ModelNotReady, match="no champion"):
        infer(plane, cars(1200.0))
    with pytest.raises(Rejection, match="No version of fuel is on the road") as caught:
        asyncio.run(RoadRepository(repository, fleet).load("fuel"))
    assert caught.value.status == 503


def test_metadata_is_that_of_the_champion(plane):
    metadata = asyncio.run(plane.model_metadata("fuel"))

    assert {"name": "origin", "datatype": "BYTES", "shape": [-1]} in metadata["inputs"]
    assert {"name": "mpg", "datatype": "FP64", "shape": [-1]} in metadata["outputs"]


def test_the_repository_takes_nothing_off_the_road(repository, fleet):
    extension = RoadRepository(repository, fleet)

    assert asyncio.run(extension.load("fuel")) == {"name": "fuel", "load": True}
    with pytest.raises(Rejection, match="Version 1 and 2 of fuel is on the road") as caught:
        asyncio.run(extension.unload("fuel"))
    assert caught.value.status == 409
    for verb in (extension.load, extension.unload):
        with pytest.raises(Rejection) as caught:
            asyncio.run(verb("oil"))
        assert caught.value.status == 404
