"""A bundle whose request and answer have a field of every kind, and a graph of a few nodes."""

import base64
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from onnx import TensorProto, helper
from pydantic import BaseModel, Field

from roadworthy.bundles import bundle
from roadworthy.models import images
from roadworthy.models.onnx_graph import IR_VERSION, OPSET
from roadworthy.models.routes import Choice, Route

PHOTO = {"height": 2, "width": 3, "channels": 1, "types": ["png", "jpeg"]}
PHOTO |= {"max_bytes": 2000, "max_pixels": 100}
PIXELS = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
FILE = images.encode(PIXELS)
PHOTO_TEXT = base64.b64encode(FILE).decode()
BOUND = {"type": "number", "minimum": 0, "maximum": 10, "default": 5}
ROUTES = (
    Route(
        "/call",
        parameters={"bound": BOUND},
        answer={
            "call": Choice("total", above="{query.bound}", then="HIGH", otherwise="LOW"),
            "total": "{answer.total}",
            "bound": "{query.bound}",
            "source": "a constant",
            "alias": "{model.alias}",
            "version": "{model.version}",
            "as_of": "{latest.as_of}",
            "next": "{latest.next}",
        },
    ),
    Route(
        "/levels/now",
        request={"level": "{query.level}", "on": False, "window": [1], "photo": PHOTO_TEXT},
        parameters={"level": {"type": "integer", "maximum": 4}},
    ),
)


class Request(BaseModel):
    """A field of every kind."""

    level: Annotated[float, Field(ge=-5, le=5, json_schema_extra={"unit": "m"})]
    on: bool
    window: Annotated[
        list[Annotated[float, Field(ge=-9, le=9)]],
        Field(min_length=1, max_length=4, json_schema_extra={"unit": "mV"}),
    ]
    corner: tuple[float, float] = (0, 0)
    tag: str = ""
    photo: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64", "image": PHOTO})]


class Answer(BaseModel):
    """A field of every kind."""

    label: Literal["up", "down"]
    alarm: bool
    total: float
    bars: list[float]
    bright: float
    count: int


def row(**changes: Any) -> dict[str, Any]:
    """Return a request."""
    return {"level": 2, "on": True, "window": [1, 2, 3], "photo": PHOTO_TEXT} | changes


def answer(request: dict[str, Any], bright: float = 2.5) -> dict[str, Any]:
    """Return what the graph answers to a request."""
    return {
        "label": "up" if request["on"] else "down",
        "alarm": request["level"] > 0,
        "total": float(sum(request["window"]) + request["level"]),
        "bars": [2.0 * value for value in request["window"]],
        "bright": bright,
        "count": int(request["level"]),
    }


def graph() -> bytes:
    """Return the graph."""
    kinds = TensorProto
    inputs = {
        "level": (kinds.DOUBLE, ["N"]),
        "on": (kinds.BOOL, ["N"]),
        "window": (kinds.DOUBLE, ["N", "L"]),
        "corner": (kinds.DOUBLE, ["N", 2]),
        "tag": (kinds.STRING, ["N"]),
        "photo": (kinds.UINT8, ["N", 2, 3]),
    }
    outputs = {
        "label": (kinds.STRING, ["N"]),
        "alarm": (kinds.BOOL, ["N"]),
        "total": (kinds.DOUBLE, ["N"]),
        "bars": (kinds.DOUBLE, ["N", "L"]),
        "bright": (kinds.DOUBLE, ["N"]),
        "count": (kinds.INT64, ["N"]),
    }
    constants = [
        helper.make_tensor("up", kinds.STRING, [], [b"up"]),
        helper.make_tensor("down", kinds.STRING, [], [b"down"]),
        helper.make_tensor("zero", kinds.DOUBLE, [], [0.0]),
        helper.make_tensor("two", kinds.DOUBLE, [], [2.0]),
        helper.make_tensor("last", kinds.INT64, [1], [1]),
        helper.make_tensor("both", kinds.INT64, [2], [1, 2]),
    ]
    nodes = [
        helper.make_node("Where", ["on", "up", "down"], ["label"]),
        helper.make_node("Greater", ["level", "zero"], ["alarm"]),
        helper.make_node("ReduceSum", ["window", "last"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "level"], ["total"]),
        helper.make_node("Mul", ["window", "two"], ["bars"]),
        helper.make_node("Cast", ["photo"], ["light"], to=kinds.DOUBLE),
        helper.make_node("ReduceMean", ["light", "both"], ["bright"], keepdims=0),
        helper.make_node("Cast", ["level"], ["count"], to=kinds.INT64),
    ]
    infos = [
        [helper.make_tensor_value_info(name, *kind) for name, kind in part.items()]
        for part in (inputs, outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "kinds", *infos, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return model.SerializeToString()


def write(path: Path) -> bundle.Bundle:
    """Write the bundle to a directory that is not there yet."""
    requests = [row(), row(on=False, level=-2, window=[0]), row(window=[1, 2], tag="a")]
    manifest = bundle.Manifest(
        model="kinds",
        commit="0" * 40,
        data_hash="0" * 32,
        candidate="graph",
        parameters={},
        metrics={},
        request=Request.model_json_schema(),
        answer=Answer.model_json_schema(),
        packages={},
        title="Every kind",
        task="classification",
        routes=ROUTES,
    )
    golden = {"requests": requests, "answers": [answer(one) for one in requests]}
    files = {
        bundle.MODEL: graph(),
        bundle.GOLDEN: bundle.encode(golden),
        bundle.PROFILE: bundle.encode({"page": {"examples": [row()], "figure": None}}),
        bundle.CARD: b"# kinds\n",
    }
    return bundle.write(path, manifest, files)
