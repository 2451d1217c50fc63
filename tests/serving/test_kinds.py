"""A request and an answer with a field of every kind, over every protocol and KServe's clients."""

import asyncio
import base64
import io
import json

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

from tests.serving import kinds
from tests.serving.kinds import FILE, PIXELS, answer, row

PREDICT = "/v1/models/kinds:predict"
INFER = "/v2/models/kinds/infer"
ROWS = [row(), row(on=False, level=-2.5, window=[0, -1, 4], tag="a")]


@pytest.fixture(scope="module")
def server(start, free_port, tmp_path_factory):
    path = tmp_path_factory.mktemp("kinds") / "bundle"
    port = free_port()
    kinds.write(path)
    server = start("--bundle", path, "--version", 1, "--grpc-port", port)
    server.grpc = f"127.0.0.1:{port}"
    with grpc.insecure_channel(server.grpc) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
    return server


def predict(server, *rows: dict) -> httpx.Response:
    return server.post(PREDICT, json={"instances": rows})


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_rows_with_lists_of_unequal_length_are_answered_over_v1(server):
    rows = [*ROWS, row(window=[5], corner=[1, 1]), row(window=[1, 2, 3, 4])]

    response = predict(server, *rows)

    assert response.json()["predictions"] == [answer(one) for one in rows]


def tensors(photo: InferInput, *, binary: bool) -> InferRequest:
    columns = {
        "level": np.array([one["level"] for one in ROWS], np.float64),
        "on": np.array([one["on"] for one in ROWS]),
        "window": np.array([one["window"] for one in ROWS], np.float32),
        "tag": np.array([b"", b"a"], object).reshape(2, 1),
        "corner": np.zeros((2, 2), np.int16),
    }
    types = ("FP64", "BOOL", "FP32", "BYTES", "INT16")
    inputs = [photo]
    for (name, values), datatype in zip(columns.items(), types, strict=True):
        inputs.append(InferInput(name, list(values.shape), datatype))
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    parameters = {"content_type": "pd", "binary_data_output": binary}
    return InferRequest("kinds", inputs, request_id="fruit", parameters=parameters)


def photo(kind: str, *, binary: bool) -> InferInput:
    """Two pictures: as files, as base64, or as pixels."""
    if kind == "pixels":
        found = InferInput("photo", [2, 2, 3], "UINT8")
        found.set_data_from_numpy(np.stack([PIXELS, PIXELS]), binary_data=binary)
        return found
    value = FILE if binary else encoded(FILE)
    found = InferInput("photo", [2], "BYTES")
    found.set_data_from_numpy(np.array([value, value], object), binary_data=binary)
    return found


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "raw"])
@pytest.mark.parametrize("kind", ["file", "pixels"])
def test_kserves_clients_send_and_get_every_kind(server, protocol, binary, kind):
    request = tensors(photo(kind, binary=binary), binary=binary)

    async def ask():
        if protocol == "grpc":
            async with InferenceGRPCClient(server.grpc) as client:
                return await client.infer(request)
        async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
            return await client.infer(server.url, request, model_name="kinds")

    found = asyncio.run(ask())

    assert (found.model_name, found.id) == ("kinds", "fruit")
    types = {one.name: (one.datatype, list(one.shape)) for one in found.outputs}
    assert types == {
        "label": ("BYTES", [2]),
        "alarm": ("BOOL", [2]),
        "total": ("FP64", [2]),
        "bars": ("FP64", [2, 3]),
        "bright": ("FP64", [2]),
        "count": ("INT64", [2]),
    }
    columns = {one.name: one.as_numpy().tolist() for one in found.outputs}
    labels = [one.decode() if isinstance(one, bytes) else one for one in columns.pop("label")]
    expected = [answer(one) for one in ROWS]
    assert labels == [one.pop("label") for one in expected]
    assert columns == {name: [one[name] for one in expected] for name in columns}


def test_raw_inputs_get_raw_outputs_over_grpc(server):
    with grpc.insecure_channel(server.grpc) as channel:
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        raw = infer(tensors(photo("file", binary=True), binary=True).to_grpc())
        typed = infer(tensors(photo("pixels", binary=False), binary=False).to_grpc())

    contents = dict(zip([one.name for one in raw.outputs], raw.raw_output_contents, strict=True))
    assert not any(one.HasField("contents") for one in raw.outputs)
    assert contents["label"] == b"\2\0\0\0up\4\0\0\0down"
    assert np.frombuffer(contents["count"], "<i8").tolist() == [2, -2]
    assert not typed.raw_output_contents
    assert typed.outputs[0].contents.bytes_contents == [b"up", b"down"]


def test_each_output_is_in_binary_or_in_json_as_the_request_has_it(server):
    request = tensors(photo("file", binary=False), binary=False).to_rest()[0]
    request |= {"parameters": {"binary_data_output": True}}
    outputs = [
        {"name": "total"},
        {"name": "alarm", "parameters": {"binary_data": True}},
        {"name": "count", "parameters": {"binary_data": False}},
    ]

    response = server.post(INFER, json=request | {"outputs": outputs})

    length = int(response.headers["inference-header-content-length"])
    total, alarm, count = json.loads(response.content[:length])["outputs"]
    assert response.headers["content-type"] == "application/octet-stream"
    assert np.frombuffer(response.content[length : length + 16], "<f8").tolist() == [8.0, 0.5]
    assert response.content[length + 16 :] == b"\1\0"
    assert total["parameters"] == {"binary_data_size": 16}
    assert alarm["parameters"] == {"binary_data_size": 2}
    assert count["data"] == [2, -2]


@pytest.mark.parametrize("windows", [("1, 2, 3",), ("[1, 2, 3]",), ("1", "2", "3")])
def test_a_form_is_one_row_with_its_file(server, windows):
    data = {"level": "2", "on": "true", "window": list(windows), "corner": "", "tag": ""}

    response = server.post(PREDICT, data=data, files={"photo": ("a.png", FILE, "image/png")})

    assert response.json() == {"predictions": [answer(row())]}


@pytest.mark.parametrize(
    ("data", "files", "status", "text"),
    [
        ({"level": "2", "on": "true", "window": "1"}, {}, 422, "photo is missing"),
        ({"level": "x"}, {"photo": FILE}, 422, "level is not a number: send -5 to 5 m"),
        ({"level": ["1", "2"]}, {"photo": FILE}, 400, "level is sent twice"),
        ({"on": "yes"}, {"photo": FILE}, 422, "on is not a boolean: send true or false"),
        ({"window": "1, x"}, {"photo": FILE}, 422, "window is not a list"),
        ({"window": "1,2,99"}, {"photo": FILE}, 422, "element 2 of window is out of range"),
        ({}, {"photo": b"text"}, 422, "photo is not a PNG or JPEG image"),
        ({}, {"photo": FILE, "level": FILE}, 400, "level is sent twice"),
        ({"depth": "1"}, {"photo": FILE}, 422, "depth is not a field of a request"),
    ],
)
def test_a_bad_form_is_refused_in_a_sentence(server, data, files, status, text):
    fields = {"level": "2", "on": "true", "window": "1"} | data

    response = server.post(PREDICT, data=fields, files=files or {"none": b""})

    assert response.status_code == status
    assert text in response.json()["error"]


def test_a_body_that_is_not_a_form_is_refused(server):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"{}", b"--x\r\n\r\n", b"--x\r\ncontent-disposition: form-data\r\n\r\n"):
        assert server.post(PREDICT, content=body, headers=headers).status_code in (400, 422)
    assert server.post(
        PREDICT, content=b"a", headers={"content-type": "multipart/form-data"}
    ).is_client_error
    many = "".join(
        f'--x\r\ncontent-disposition: form-data; name="f{n}"\r\n\r\n1\r\n' for n in range(200)
    )
    response = server.post(PREDICT, content=f"{many}--x--\r\n".encode(), headers=headers)
    assert "Too many fields" in response.json()["error"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"on": 1}, "on is not a boolean: send true or false"),
        (
            {"window": []},
            "window has too few elements: send a list of 1 to 4 numbers, each -9 to 9 mV",
        ),
        ({"window": [1] * 5}, "window has too many elements"),
        ({"window": [1, 2, "3"]}, "element 2 of window is not a number: send -9 to 9 mV"),
        ({"window": [1, 10]}, "element 1 of window is out of range: send -9 to 9 mV"),
        ({"window": [[1]]}, "element 0 of window is not a number"),
        ({"corner": [1]}, "corner has too few elements: send a list of 2 numbers"),
        ({"photo": "a b"}, "photo is not base64"),
        ({"photo": encoded(b"GIF89a")}, "photo is not a PNG or JPEG image"),
        ({"photo": "A" * 3000}, "photo is larger than 2000 bytes"),
        ({"photo": encoded(png(20, 6))}, "photo has 20 x 6 pixels, more than 100"),
        ({"photo": encoded(FILE[:-30])}, "photo is a damaged image"),
        ({"photo": 3}, "photo is not a string"),
    ],
)
def test_a_bad_value_is_refused_with_field_bound_and_unit(server, changes, text):
    response = predict(server, row(), row(**changes))

    assert response.status_code == 422
    assert f"In row 1, {text}" in response.json()["error"]


@pytest.mark.parametrize(
    ("tensor", "status", "text"),
    [
        (("window", "FP64", [1, 5], [1] * 5), 422, "window has too many elements"),
        (("window", "FP64", [1, 2], [1, 10]), 422, "element 1 of window is out of range"),
        (("window", "FP64", [1, 2], [[1]]), 400, "not nested like its shape"),
        (("window", "FP64", [1], [1]), 400, "send [N, L]"),
        (("corner", "FP64", [1, 3], [1, 2, 3]), 400, "send [N, 2]"),
        (("on", "FP64", [1], [1]), 422, "on is of a datatype that is none of BOOL"),
        (("photo", "UINT8", [1, 3, 2], [0] * 6), 400, "send [N, 2, 3] or [N, 2, 3, 1]"),
        (("photo", "UINT8", [1, 2, 3], [0] * 5 + [256]), 422, "whole numbers from 0 to 255"),
        (("photo", "BYTES", [1], ["a b"]), 422, "photo is not base64"),
        (("photo", "FP64", [1], [1]), 422, "none of BYTES, UINT8"),
    ],
)
def test_a_bad_tensor_is_refused_in_a_sentence(server, tensor, status, text):
    good = [
        ("level", "FP64", [1], [2]),
        ("on", "BOOL", [1], [True]),
        ("window", "INT8", [1, 3], [[1, 2, 3]]),
        ("photo", "BYTES", [1, 1], [encoded(FILE)]),
        ("tag", "BYTES", [1], [None]),
    ]
    keys = ("name", "datatype", "shape", "data")

    def ask(*sent: tuple) -> httpx.Response:
        return server.post(
            INFER, json={"inputs": [dict(zip(keys, one, strict=True)) for one in sent]}
        )

    assert ask(*good).status_code == 200
    response = ask(*(one for one in good if one[0] != tensor[0]), tensor)

    assert response.status_code == status, response.text
    assert text in response.json()["error"]


def test_the_card_has_title_task_and_page(server):
    card = server.get("/v2/models/kinds/card").json()

    assert (card["title"], card["task"]) == ("Every kind", "classification")
    assert card["page"] == {"examples": [row()], "figure": None}
