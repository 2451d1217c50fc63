"""KServe's own clients, over REST and gRPC, against a server in a process of its own."""

import asyncio
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from roadworthy.routing import routes
from roadworthy.routing.routes import Routing

CAR = {"weight_kg": 1200, "year": 1980}
ROWS = [
    {"weight_kg": 1200, "year": 1980, "origin": "usa"},
    {"weight_kg": 1300, "year": 1975, "origin": "japan"},
]
SERVICE = "/inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def routings(bundles, release, tmp_path_factory):
    directory = tmp_path_factory.mktemp("routing")
    champion, challenger = (release(n + 1, one) for n, one in enumerate(bundles))
    routes.write(directory, Routing("fuel", champion, challenger))
    routes.write(directory, Routing("oil"))
    return directory


@pytest.fixture(scope="module")
def conforming(start, routings, free_port):
    port = free_port()
    server = start("--routing", routings, "--grpc-port", port, "--max-body-bytes", 100_000)
    server.grpc = f"127.0.0.1:{port}"
    with grpc.insecure_channel(server.grpc) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
    return server


@pytest.fixture
def channel(conforming):
    with grpc.insecure_channel(conforming.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return GRPCInferenceServiceStub(channel)


def rest(protocol: str, ask):
    async def run():
        async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0)) as client:
            return await ask(client)

    return asyncio.run(run())


def rpc(server, ask):
    async def run():
        async with InferenceGRPCClient(server.grpc) as client:
            return await ask(client)

    return asyncio.run(run())


def tensors(dtype: str, values=(1200, 1300), *, binary: bool = False, width: bool = False):
    shape = [2, 1] if width else [2]
    of = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64}[dtype]
    weight = InferInput("weight_kg", shape, dtype)
    weight.set_data_from_numpy(np.array(values, of).reshape(shape), binary_data=binary)
    year = InferInput("year", shape, dtype)
    year.set_data_from_numpy(np.array([1980, 1975], of).reshape(shape), binary_data=binary)
    origin = InferInput("origin", shape, "BYTES")
    words = np.array([b"usa", b"japan"], object).reshape(shape)
    origin.set_data_from_numpy(words, binary_data=binary)
    return [weight, year, origin]


@pytest.fixture(scope="module")
def expected(conforming):
    body = {"instances": ROWS}
    return conforming.post("/v1/models/fuel:predict", json=body).json()["predictions"]


def columns(answer) -> dict:
    return {output.name: output.as_numpy().tolist() for output in answer.outputs}


def test_v1_batches(conforming, bundles):
    golden = bundles[0].golden

    answer = rest(
        "v1",
        lambda client: client.infer(
            conforming.url, {"instances": golden.requests}, model_name="fuel"
        ),
    )

    for found, wanted in zip(answer["predictions"], golden.answers, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)


def test_states_over_rest_and_grpc(conforming):
    url = conforming.url

    async def v1(client):
        models = [await client.is_model_ready(url, name) for name in ("fuel", "oil")]
        return [await client.is_server_live(url), *models]

    async def v2(client):
        models = [await client.is_model_ready(url, name) for name in ("fuel", "oil")]
        return [await client.is_server_live(url), await client.is_server_ready(url), *models]

    async def over_grpc(client):
        models = [await client.is_model_ready(name) for name in ("fuel", "oil")]
        return [await client.is_server_live(), await client.is_server_ready(), *models]

    assert rest("v1", v1) == [True, True, False]
    assert rest("v2", v2) == [True, True, True, False]
    assert rpc(conforming, over_grpc) == [True, True, True, False]


@pytest.mark.parametrize("width", [False, True], ids=["N", "Nx1"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "raw"])
@pytest.mark.parametrize("dtype", ["FP32", "FP64", "INT64"])
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_v2_batches_of_named_tensors(conforming, expected, protocol, dtype, binary, width):
    request = InferRequest(
        "fuel",
        tensors(dtype, binary=binary, width=width),
        request_id="cars",
        parameters={"content_type": "pd"},
    )

    async def ask(client):
        if protocol == "rest":
            return await client.infer(conforming.url, request, model_name="fuel")
        return await client.infer(request)

    answer = rest("v2", ask) if protocol == "rest" else rpc(conforming, ask)

    assert (answer.model_name, answer.id) == ("fuel", "cars")
    if protocol == "grpc":  # KServe's client leaves the version out over REST
        assert answer.model_version == "1"
    found = columns(answer)
    assert set(found) == set(expected[0])
    assert found["mpg"] == [row["mpg"] for row in expected]


def test_metadata_of_the_server_and_of_a_model(conforming, stub):
    over_rest = conforming.get("/v2").json()
    over_grpc = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert over_rest["name"] == over_grpc.name == "kserve"
    assert over_rest["extensions"] == list(over_grpc.extensions)

    over_rest = conforming.get("/v2/models/fuel").json()
    over_grpc = stub.ModelMetadata(pb.ModelMetadataRequest(name="fuel"))
    assert over_rest["versions"] == ["1", "2"]
    for part in ("inputs", "outputs"):
        found = [(one.name, one.datatype, list(one.shape)) for one in getattr(over_grpc, part)]
        assert found == [(one["name"], one["datatype"], one["shape"]) for one in over_rest[part]]
    assert ("origin", "BYTES", [-1]) in [
        (one.name, one.datatype, list(one.shape)) for one in over_grpc.inputs
    ]


def infer(**changes) -> pb.ModelInferRequest:
    return InferRequest("fuel", tensors("FP64")).to_grpc() if not changes else _changed(**changes)


def _changed(**changes) -> pb.ModelInferRequest:
    request = InferRequest(changes.pop("model", "fuel"), tensors("FP64")).to_grpc()
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def test_a_version_can_be_requested_over_grpc(stub):
    by_field, call = stub.ModelInfer.with_call(infer(model_version="2"))
    by_header = stub.ModelInfer(infer(), metadata=[("x-roadworthy-version", "2")])
    champion = stub.ModelInfer(infer())

    assert by_field.model_version == by_header.model_version == "2"
    assert champion.model_version == "1"
    assert dict(call.initial_metadata())["x-roadworthy-version"] == "2"
    assert by_field.outputs != champion.outputs


REFUSED = {
    "no such model": (_changed(model="water"), "NOT_FOUND", "water"),
    "no champion": (_changed(model="oil"), "UNAVAILABLE", "oil"),
    "no such version": (_changed(model_version="9"), "NOT_FOUND", "there is 1 and 2"),
    "no inputs": (pb.ModelInferRequest(model_name="fuel"), "INVALID_ARGUMENT", "list of inputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_over_grpc_has_code_and_sentence(stub, case):
    request, code, sentence = REFUSED[case]

    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)

    assert caught.value.code().name == code
    assert sentence in caught.value.details()


def bad(change) -> pb.ModelInferRequest:
    request = infer()
    change(request)
    return request


BAD = {
    "out of range": lambda r: r.inputs[0].contents.fp64_contents.__setitem__(1, 1e300),
    "not a string": lambda r: r.inputs[2].contents.bytes_contents.__setitem__(0, b"\xff"),
    "raw and not": lambda r: r.raw_input_contents.append(b"x"),
    "raw of another size": lambda r: raw(r, b"x"),
    "an unknown output": lambda r: r.outputs.add(name="speed"),
}


def raw(request: pb.ModelInferRequest, content: bytes) -> None:
    for part in request.inputs:
        part.ClearField("contents")
        request.raw_input_contents.append(content)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_over_grpc_is_an_invalid_argument(stub, case):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(bad(BAD[case]))

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
    assert len(caught.value.details()) > 20


def test_a_message_that_is_too_large_is_refused(stub):
    request = infer()
    request.id = "x" * 200_000

    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_repository_over_grpc_and_rest(conforming, stub):
    assert stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="fuel")).isLoaded
    with pytest.raises(grpc.RpcError) as caught:
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="fuel"))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "deployed" in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="../fuel"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_workers_share_the_port_and_are_restarted_without_losing_a_call(
    start, routings, free_port, eventually
):
    # given a server of two processes, whose connections for gRPC end after two seconds
    port = free_port()
    server = start(
        *("--routing", routings, "--grpc-port", port, "--workers", 2, "--idle-seconds", 2)
    )

    def processes() -> set[str]:
        pid = server.process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    before, stopping, versions = processes(), threading.Event(), []

    def call() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            while not stopping.is_set():
                versions.append(stub.ModelInfer(infer()).model_version)

    with ThreadPoolExecutor() as threads:
        clients = [threads.submit(call) for _ in range(3)]

        # when they are restarted while clients call
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(processes()) == 2 and not processes() & before, "two others", 60)
        count = len(versions)
        eventually(lambda: len(versions) > count + 5, "more answers")
        stopping.set()

        # then every call was answered
        for client in clients:
            client.result()
    assert set(versions) == {"1"}
    assert server.stop() == 0


def test_a_stop_answers_calls_or_tells_clients_to_retry(start, routings, free_port):
    # given a server under calls
    port = free_port()
    server = start("--routing", routings, "--grpc-port", port)

    def call() -> grpc.StatusCode:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            while True:
                try:
                    stub.ModelInfer(infer())
                except grpc.RpcError as error:
                    return error.code()

    # when it stops, then no call is cancelled
    with ThreadPoolExecutor() as threads:
        clients = [threads.submit(call) for _ in range(3)]
        assert server.stop() == 0
        assert {client.result() for client in clients} == {grpc.StatusCode.UNAVAILABLE}


def test_a_port_in_use_for_grpc_is_one_sentence(command, bundles):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(*command, "--bundle", bundles[0].path, "--version", "1", "--port", "0"),
                *("--grpc-port", str(port)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert f"port {port} for gRPC" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_version_that_is_not_loaded_is_neither_ready_nor_described(conforming, stub):
    model = pb.ModelReadyRequest(name="fuel", version="2")
    assert stub.ModelReady(model).ready
    for ask, request in (
        (stub.ModelReady, pb.ModelReadyRequest(name="fuel", version="7")),
        (stub.ModelMetadata, pb.ModelMetadataRequest(name="fuel", version="7")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask(request)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
