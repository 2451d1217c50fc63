"""Bundles that misbehave in one way each, made of a good one by changing its graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle

ODD_WEIGHT = 1501.5
"""A car that no golden batch has. What fails for some rows fails for cars near this weight."""


def alike(good: Bundle, target: Path, *, factor: float = 1.01) -> Bundle:
    """A bundle that answers nearly as a good one, as one that was trained on newer data does."""
    return _changed(good, target, factor=factor)


def biased(good: Bundle, target: Path) -> Bundle:
    """A bundle that answers far too much, at training time as well."""
    return _changed(good, target, factor=1.6)


def slow(good: Bundle, target: Path) -> Bundle:
    """A bundle that works long on an odd car: about a third of a second."""
    return _changed(good, target, odd_rounds=400_000)


def endless(good: Bundle, target: Path) -> Bundle:
    """A bundle that never ends with an odd car."""
    return _changed(good, target, odd_rounds=2**62)


def failing(good: Bundle, target: Path) -> Bundle:
    """A bundle whose graph fails with an odd car."""
    return _changed(good, target, odd_index=7)


def _changed(
    good: Bundle,
    target: Path,
    *,
    factor: float = 1.0,
    odd_rounds: int = 0,
    odd_index: int = 0,
) -> Bundle:
    model = onnx.load_from_string(good.graph)
    graph = model.graph
    names = [output.name for output in graph.output]
    for node in graph.node:
        for names_of in (node.input, node.output):
            for place, name in enumerate(names_of):
                if name in names:
                    names_of[place] = f"{name}_before"
    one = _trouble(graph, factor, odd_rounds, odd_index)
    for name in names:
        graph.node.append(helper.make_node("Mul", [f"{name}_before", one], [name]))
    onnx.checker.check_model(model)
    files = {path: (good.path / path).read_bytes() for path in good.manifest.files}
    files[bundle.MODEL] = model.SerializeToString(deterministic=True)
    answers = [
        {name: value * factor for name, value in answer.items()} for answer in good.golden.answers
    ]
    files[bundle.GOLDEN] = bundle.encode({"requests": good.golden.requests, "answers": answers})
    return bundle.write(target, replace(good.manifest, files={}), files)


def _trouble(graph, factor: float, odd_rounds: int, odd_index: int) -> str:
    """Add what makes the trouble, and return the name of a number that is the factor."""

    def add(operator: str, *inputs: str, **attributes) -> str:
        name = f"Trouble_{operator}_{len(graph.node)}"
        graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def number(value, kind=np.int64) -> str:
        name = f"Trouble_{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    distance = add("Abs", add("Sub", "weight_kg", number(ODD_WEIGHT, np.float64)))
    odd = add("Cast", add("Less", distance, number(1.0, np.float64)), to=TensorProto.INT64)
    any_odd = add("ReduceMax", odd, keepdims=0)
    index = add("Mul", any_odd, number(odd_index))
    found = add("Gather", number([factor], np.float64), index)
    # Where the factor is read at a place that is not there, the runtime raises.
    trips = add("Mul", any_odd, number(odd_rounds))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_still"]),
            helper.make_node("Add", ["before", "step"], ["after"]),
        ],
        "work",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.DOUBLE, []),
        ],
        [
            helper.make_tensor_value_info("go_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.DOUBLE, []),
        ],
        [numpy_helper.from_array(np.float64(1e-30), "step")],
    )
    worked = add("Loop", trips, "", number(0.0, np.float64), body=body)
    return add("Add", found, add("Mul", worked, number(0.0, np.float64)))
