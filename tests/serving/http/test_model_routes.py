import asyncio
import gzip
import json
import math
import struct
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.tensors import records
from roadworthy.serving.http import protocol
from roadworthy.serving.models.model_store import ModelVersions

CAR = {"weight_kg": 1200, "year": 1980}
PREDICT = "/v1/models/fuel:predict"
INFER = "/v2/models/fuel/infer"


def tensors(**columns: tuple) -> dict:
    return {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data)}
            for name, (datatype, data) in columns.items()
        ]
    }


TENSORS = tensors(weight_kg=("FP64", (1200.0,)), year=("INT64", (1980,)))


def test_the_golden_batch_is_answered_over_both_protocols_as_it_was_trained(ask, bundles):
    for version, bundle in enumerate(bundles, start=1):
        golden = bundle.golden
        pin = {"x_roadworthy_version": str(version)}

        rows = ask(PREDICT, {"instances": golden.requests}, **pin).json()["predictions"]
        single = [
            ask(
                INFER,
                tensors(
                    **{k: ("FP64", (v,)) for k, v in r.items() if k != "origin"}
                    | ({"origin": ("BYTES", (r["origin"],))} if "origin" in r else {})
                ),
                **pin,
            ).json()
            for r in golden.requests
        ]

        for row, one, expected in zip(rows, single, golden.answers, strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
            found = {output["name"]: output["data"][0] for output in one["outputs"]}
            assert found == pytest.approx(expected, rel=1e-5)


BAD_BODIES = [
    (b"", 400, "empty"),
    (b"weight=3", 400, "not JSON"),
    (b'{"instances": [{"weight_kg": "\\ud800", "year": 1980}]}', 400, "not JSON"),
    (b'{"instances": [{"weight_kg": NaN, "year": 1980}]}', 400, "not JSON"),
    (b"[" * 19_000, 400, "nested too deeply"),
    (b'{"a":' * 2000 + b"1" + b"}" * 2000, 400, "nested too deeply"),
    (b"null", 400, "not an object"),
    (b'{"instances": [], "x": 1}', 400, "list of instances"),
    (b'{"instances": []}', 400, "at least one"),
    (b'{"instances": [{"weight_kg": 1, "weight_kg": 1200, "year": 1980}]}', 400, '"weight_kg"'),
    (b'{"instances": [3], "instances": [{"weight_kg": 1200, "year": 1980}]}', 400, '"instances"'),
    (json.dumps({"instances": [CAR] * 51}).encode(), 413, "at most 50"),
    (b" " * 20_001, 413, "at most 20000 bytes"),
    ([b" " * 15_000] * 3, 413, "at most 20000 bytes"),
    (b'{"instances": [{"weight_kg": 1200, "year": 1980, "origin": "a:b"}]}', 422, "origin"),
    (b'{"instances": [null]}', 422, "is null"),
    (b'{"instances": [[1200, 1980]]}', 422, "is not an object"),
    (b'{"instances": [{"weight_kg": 1' + b"0" * 300 + b', "year": 1980}]}', 422, "2400 kg"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_BODIES)
def test_a_bad_v1_body_is_refused_in_a_sentence(ask, body, status, words):
    answer = ask(PREDICT, body)

    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert answer.headers.get("x-roadworthy-version", "1") == "1"


def test_a_refused_field_is_named_with_row_bound_unit_and_input(ask):
    answer = ask(PREDICT, {"instances": [CAR, {"weight_kg": 50, "year": 1980}]})

    assert answer.status_code == 422
    assert answer.json() == {
        "error": "In row 1, weight_kg is out of range: send 700 to 2400 kg.",
        "details": [
            {
                "row": 1,
                "field": "weight_kg",
                "problem": "is out of range",
                "bound": "700 to 2400",
                "unit": "kg",
                "input": 50,
            }
        ],
    }


def test_a_body_in_chunks_is_answered(ask):
    body = orjson.dumps({"instances": [CAR]})

    assert ask(PREDICT, [body[:9], body[9:]]).status_code == 200


def test_a_body_that_is_compressed_by_gzip_is_taken_within_the_limit(ask):
    body = json.dumps({"instances": [CAR]}).encode()
    plain, packed = ask(PREDICT, body), ask(PREDICT, gzip.compress(body), content_encoding="GZIP")
    assert (packed.status_code, packed.content) == (200, plain.content)

    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 20_000
    assert ask(PREDICT, bomb, content_encoding="gzip").status_code == 413


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", b"", 400),
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], 400),
        ("br", b"x", 415),
    ],
)
def test_a_body_that_is_not_whole_gzip_is_refused(ask, coding, body, status):
    answer = ask(PREDICT, body, content_encoding=coding)

    assert answer.status_code == status
    assert "gzip" in answer.json()["error"]


def test_a_client_that_disconnects_gets_no_answer(ask):
    sent = []

    async def disconnected():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": []}
    asyncio.run(ask.app(scope, disconnected, send))

    assert sent == []


def with_tensor(**changes: object) -> dict:
    first, *rest = TENSORS["inputs"]
    return {"inputs": [first | changes, *rest]}


BAD_TENSORS = [
    ({}, 400, "list of inputs"),
    (TENSORS | {"x": 1}, 400, "list of inputs"),
    (TENSORS | {"id": 3}, 400, "is not a string"),
    (TENSORS | {"outputs": {"name": "mpg"}}, 400, "not a list"),
    (TENSORS | {"outputs": [{"name": "km"}]}, 400, "l_per_100km"),
    ({"inputs": [3]}, 400, "not a tensor"),
    (with_tensor(x=1), 400, "not a tensor"),
    (with_tensor(name=None), 400, "no name"),
    (with_tensor(name="weight_lb"), 422, "weight_lb is not a field"),
    (with_tensor(name="year", data=[1980]), 400, "twice"),
    (with_tensor(datatype="BYTES"), 422, "none of FP64"),
    (with_tensor(shape=1), 400, "shape of weight_kg"),
    (with_tensor(shape=[1, 2]), 400, "shape of weight_kg"),
    (with_tensor(shape=[-1]), 400, "shape of weight_kg"),
    (with_tensor(shape=[0], data=[]), 400, "at least one"),
    (with_tensor(shape=[51], data=[1200] * 51), 413, "at most 50"),
    (with_tensor(shape=[2]), 400, "has 1 values"),
    (with_tensor(data=None), 400, "not a list"),
    (with_tensor(data=[[1200]]), 422, "is not a number"),
    (with_tensor(data=[12]), 422, "700 to 2400 kg"),
    (with_tensor(datatype="INT64", data=[1200.5]), 422, "not a whole number"),
    (with_tensor(data=None, parameters={"binary_data_size": 8}), 400, "bytes of weight_kg"),
    ({"inputs": TENSORS["inputs"][:1]}, 422, "year is missing"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_TENSORS)
def test_a_bad_v2_body_is_refused_in_a_sentence(ask, body, status, words):
    answer = ask(INFER, body)

    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"name":"year"', b'"name":"year","name":"year"'),
        (b'{"inputs"', b'{"id":"a","id":"b","parameters":{"n":1' + b"0" * 300 + b'.0},"inputs"'),
    ],
)
def test_v2_refuses_a_duplicate_key_wherever_it_is(ask, old, new):
    answer = ask(INFER, orjson.dumps(TENSORS).replace(old, new))

    assert answer.status_code == 400
    assert "is duplicate" in answer.json()["error"]


@pytest.mark.parametrize(
    ("kind", "packed", "status", "words"),
    [
        ("FP64", struct.pack("<d", 1200), 200, ""),
        ("FP32", struct.pack("<f", 1200), 200, ""),
        ("INT32", struct.pack("<i", 1200), 200, ""),
        ("FP64", struct.pack("<d", math.nan), 422, "is not a finite number"),
        ("FP64", struct.pack("<f", 1200), 400, "send 8 for each value"),
        ("BYTES", b"\x03\0\0\0usa", 200, ""),
        ("BYTES", b"\x03\0\0\0usb", 422, "one of usa, europe, japan"),
        ("BYTES", b"\x03\0\0\0us", 400, "in the middle of a string"),
        ("BYTES", b"\x02\0\0\0\xff\xff", 400, "is not UTF-8"),
        ("BYTES", b"\x03\0\0\0usa\x03\0\0\0usa", 400, "has 2 values"),
    ],
)
def test_v2_takes_tensors_as_bytes(ask, kind, packed, status, words):
    name = "origin" if kind == "BYTES" else "weight_kg"
    parameters = {"binary_data_size": len(packed)}
    first = {"name": name, "shape": [1], "datatype": kind, "parameters": parameters}
    others = [one for one in TENSORS["inputs"] if one["name"] != name]
    text = orjson.dumps({"inputs": [first, *others]})

    answer = ask(INFER, text + packed, inference_header_content_length=str(len(text)))

    assert answer.status_code == status
    assert words in answer.json().get("error", "")


@pytest.mark.parametrize(
    ("name", "datatype", "value"), [("horsepower", "FP64", 90), ("cylinders", "INT64", 4)]
)
def test_an_optional_value_that_one_row_of_a_v2_batch_lacks_is_null(ask, name, datatype, value):
    rows = [CAR | {name: value}, CAR]
    batch = tensors(
        weight_kg=("FP64", (1200, 1200)),
        year=("INT64", (1980, 1980)),
        **{name: (datatype, (value, None))},
    )

    found = ask(INFER, batch).json()["outputs"][0]["data"]

    expected = ask(PREDICT, {"instances": rows}).json()["predictions"]
    assert found == [row["l_per_100km"] for row in expected]


def test_nan_is_a_missing_value_in_binary(ask):
    plain = [
        {"name": name, "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}
        for name in ("weight_kg", "year", "horsepower")
    ]
    text = orjson.dumps({"inputs": plain})
    body = text + np.array([1200, 1980, np.nan]).tobytes()

    answer = ask(INFER, body, inference_header_content_length=str(len(text)))

    expected = ask(PREDICT, {"instances": [CAR]}).json()["predictions"][0]
    assert answer.json()["outputs"][0]["data"] == [expected["l_per_100km"]]


def test_v2_refuses_bytes_that_no_tensor_claims_and_a_length_that_does_not_fit(ask):
    text = orjson.dumps(TENSORS)
    header = "inference_header_content_length"

    assert "3 bytes follow" in ask(INFER, text + b"abc", **{header: str(len(text))}).json()["error"]
    for length in ("-1", "x", "99999", "9" * 30, ""):
        assert "does not fit" in ask(INFER, text, **{header: length}).json()["error"]


def test_an_answer_that_is_no_number_is_never_sent(ask, loaded, monkeypatch):
    columns = {name: np.array([np.nan]) for name in loaded[0].scorer.outputs}
    monkeypatch.setattr(loaded[0].scorer, "score", lambda *_: columns)

    for path, body in ((PREDICT, {"instances": [CAR]}), (INFER, TENSORS)):
        answer = ask(path, body)

        assert answer.status_code == 422
        assert "l_per_100km that is not a finite number" in answer.json()["error"]


def test_a_version_can_be_pinned_by_header_or_by_path(ask):
    champion = ask(PREDICT, {"instances": [CAR]})
    pinned = ask(PREDICT, {"instances": [CAR]}, x_roadworthy_version="2")
    by_path = ask("/v2/models/fuel/versions/2/infer", TENSORS)

    assert pinned.headers["x-roadworthy-version"] == "2"
    assert by_path.json()["model_version"] == by_path.headers["x-roadworthy-version"] == "2"
    assert pinned.json() != champion.json()
    assert by_path.json()["outputs"][0]["data"] == [pinned.json()["predictions"][0]["l_per_100km"]]


@pytest.mark.parametrize("version", ["3", "x", "1.0", "-1", "\u00e9"])
def test_a_version_that_is_not_loaded_is_a_404_with_the_loaded_ones(ask, version):
    answer = ask(PREDICT, {"instances": [CAR]}, x_roadworthy_version=version)

    assert answer.status_code == 404
    assert answer.json()["error"].endswith("there is 1 and 2.")


def test_without_a_champion_only_the_pinned_challenger_answers(ask, loaded):
    ask.store.put(ModelVersions("fuel", None, loaded[1]))

    answer = ask(PREDICT, {"instances": [CAR]})

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "no champion deployed yet" in answer.json()["error"]
    assert "version 2" in answer.json()["error"]
    assert ask(PREDICT, {"instances": [CAR]}, x_roadworthy_version="2").status_code == 200
    assert ask("/v2/models/fuel/ready", method="GET").status_code == 503


@pytest.mark.parametrize(
    "path", ["/v1/models/oil:predict", "/v2/models/oil/infer", "/v2/models/oil"]
)
def test_an_unknown_model_is_a_404_with_the_known_ones(ask, path):
    answer = ask(path)

    assert answer.status_code == 404
    assert answer.json()["error"] == 'There is no model "oil" here: there is fuel.'


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PREDICT, "POST"),
        ("DELETE", INFER, "POST"),
        ("POST", "/v2/models/fuel/card", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_one(ask, method, path, allowed):
    answer = ask(path, method=method)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


def test_the_card_has_the_content_of_the_page_and_is_cached(ask, bundles):
    ask.store.put(replace(ask.store.models["fuel"], weight=10, state="shifting"))

    card = ask("/v2/models/fuel/card", method="GET")

    assert (
        card.json().items()
        >= {
            "model": "fuel",
            "version": 1,
            "challenger": 2,
            "digest": bundles[0].digest,
            "since": "2026-01-02T03:04:05+00:00",
            "request": bundles[0].manifest.request,
            "page": bundles[0].profile["page"],
            "state": "shifting",
            "split": [
                {"version": 1, "role": "champion", "weight": 90, "share": 90},
                {"version": 2, "role": "challenger", "weight": 10, "share": 10},
            ],
        }.items()
    )
    assert card.headers["cache-control"] == "no-cache"
    again = ask("/v2/models/fuel/card", method="GET", if_none_match=card.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_other_requests_are_passed_on_and_browsers_get_the_page(ask):
    assert ask("/v2", method="GET").text == "other: /v2"
    assert ask("/", method="GET").text == "other: /"
    assert ask("/", method="GET", accept="text/html,*/*").text == "other: /index.html"


def test_metrics_are_read_and_not_written(ask):
    metrics = ask("/metrics", method="GET")
    refused = ask("/metrics", {})

    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert b'roadworthy_version{model="fuel",role="champion",version="1"} 1.0' in metrics.content
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@given(
    names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, unique=True),
    rows=st.integers(1, 30),
    data=st.data(),
)
def test_an_answer_of_the_first_protocol_is_an_object_for_each_row(names, rows, data):
    number = st.floats(allow_nan=False, allow_infinity=False)
    answers = {
        name: np.array(data.draw(st.lists(number, min_size=rows, max_size=rows))) for name in names
    }

    written = protocol.answer_v1(answers).content

    assert orjson.loads(written) == {"predictions": records(answers)}
