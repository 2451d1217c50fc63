"""Models of other kinds than a regression on a table go the whole way to served answers.

A classifier of labels, a detector on lists and a classifier of images, as another distribution has
them: released by the compiled pipeline, asked over every protocol, replaced by a canary, rolled
back, and shown by the page.
"""

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

from roadworthy.bundles import bundle
from roadworthy.models import contract, tensors
from roadworthy.models.agreement import agree
from roadworthy.models.tensors import FieldType
from tests.parts.other_models import NAMES
from tests.ports import free_port

from . import clients
from .conftest import Workplace, clone, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow]

FAST = {"ROADWORTHY_STAGE_SECONDS": "0.5"}


class Place(Workplace):
    """A clone whose environment has the three models, with a server."""

    url: str
    grpc: str

    def make_data(self, name: str, seed: int) -> None:
        """Put raw data of a model under DVC."""
        model: Any = contract.load(name)
        raw = self.path / model.data.removesuffix(".dvc")
        subprocess.run(["rm", "-rf", raw], check=True)
        model.generate(raw, seed=seed)
        for words in (["add", "--quiet", raw], ["push", "--quiet", f"{raw}.dvc"]):
            subprocess.run([sys.executable, "-m", "dvc", *words], cwd=self.path, check=True)

    def run(self, name: str) -> None:
        """Run the compiled pipeline; it releases a version."""
        done = self.roadworthy("run", name, **FAST)
        assert done.returncode == 0, done.stdout + done.stderr + self._log()
        assert self.report()["outcome"] == "released"

    def golden(self, name: str) -> bundle.Golden:
        """Return the golden batch of the champion."""
        digest = self.json("lineage", name)["bundle"]
        return bundle.read(self.path / ".roadworthy" / "bundles" / digest).golden

    def _log(self) -> str:
        return (self.runs()[-1] / "log.txt").read_text()[-5000:]


@pytest.fixture(scope="module")
def place(snapshot: Path, tmp_path_factory, installed_models: Path) -> Iterator[Place]:
    """The pipelines are compiled and committed, the data is pushed; nothing is released."""
    made = Place(clone(snapshot, tmp_path_factory.mktemp("three") / "clone").path)
    made.environment["PYTHONPATH"] = str(installed_models)
    (made.path / "data").mkdir(exist_ok=True)
    for name in NAMES:
        made.make_data(name, seed=5)
    compiled = made.roadworthy("compile")
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    made.commit("Add three models")
    made.grpc = f"127.0.0.1:{free_port()}"
    with made.serving("--grpc-port", made.grpc.rpartition(":")[2]) as made.url:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_another_kind_goes_the_whole_way(place: Place, name: str, tmp_path, visit):
    # given a version that the compiled pipeline released
    place.run(name)
    golden = place.golden(name)

    # when its golden batch is asked, then V1 gives the answers of training time to all of it,
    predict = f"{place.url}/v1/models/{name}:predict"
    answers = httpx.post(predict, json={"instances": golden.requests}).json()["predictions"]
    columns = {field: [answer[field] for answer in answers] for field in answers[0]}
    assert golden.agreement(columns).agrees
    # and so do V2 as JSON and as binary, and gRPC, to one of them
    request, expected = next(
        (asked, answer)
        for asked, answer in zip(golden.requests, golden.answers, strict=True)
        if set(asked) == set(contract.load(name).Request.model_fields)
    )
    for protocol, binary in (("v2", False), ("v2", True), ("grpc", True)):
        found = infer(place, name, request, protocol, binary=binary)
        whole = {field: [value] for field, value in expected.items()}
        assert agree(whole, found, golden.tolerance).agrees, (protocol, binary, found, expected)

    # when new data makes a second version while customers ask, then none of them loses a request
    place.make_data(name, seed=9)
    place.commit("Change the data")
    with clients.asking(predict, golden.requests, tmp_path) as asked:
        place.run(name)
        wait_until(lambda: "2" in asked.versions)
        assert asked.statuses == {"200"}
        # and a rollback brings the first one back
        back = place.roadworthy("rollback", name)
        assert back.returncode == 0, back.stdout + back.stderr
        wait_until(lambda: version(predict, golden.requests[0]) == "1")
        assert asked.statuses == {"200"}

    # and the page draws its form and answers the example
    visited = visit(f"{place.url}/#/{name}")
    visited.page.wait_for_selector("#model[data-state=ready]")
    visited.predict()
    assert visited.page.locator("[data-output]").count() == len(expected)
    assert visited.problems == []


def version(address: str, request: dict[str, Any]) -> str:
    """Return the version that answers a request."""
    return httpx.post(address, json={"instances": [request]}).headers["x-roadworthy-version"]


def infer(place: Place, name: str, row: dict[str, Any], protocol: str, *, binary: bool) -> dict:
    """Return the answer to one request over KServe's own client, as columns."""
    fields = tensors.parse(contract.load(name).Request.model_json_schema())
    inputs = [tensor(fields[field], value, binary=binary) for field, value in row.items()]
    request = InferRequest(name, inputs)

    async def ask() -> Any:
        if protocol == "grpc":
            async with InferenceGRPCClient(place.grpc) as client:
                return await client.infer(request)
        async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
            return await client.infer(place.url, request, model_name=name)

    with ThreadPoolExecutor() as apart:  # this thread has the browser's event loop
        found = apart.submit(lambda: asyncio.run(ask())).result()
    columns = {output.name: output.as_numpy().tolist() for output in found.outputs}
    return {
        field: [one.decode() if isinstance(one, bytes) else one for one in column]
        for field, column in columns.items()
    }


def tensor(field: FieldType, value: Any, *, binary: bool) -> InferInput:
    """Return a value of a request as a tensor with one row; a binary one of an image is a file."""
    kinds = {"boolean": ("BOOL", bool), "string": ("BYTES", object), "image": ("BYTES", object)}
    datatype, dtype = kinds.get((field.item or field).kind, ("FP64", np.float64))
    if field.image and binary:
        value = base64.b64decode(value)
    row = np.array([value], dtype)
    made = InferInput(field.name, list(row.shape), datatype)
    made.set_data_from_numpy(row, binary_data=binary)
    return made
