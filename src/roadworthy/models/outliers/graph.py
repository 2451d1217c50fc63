"""A fitted detector as one ONNX graph: a window of any length in, a verdict on each value out.

A product of a kernel with each value and those before it is a product of matrices here: the window
is cut into blocks, and each block with the one before it is multiplied by the kernel's matrix. The
Conv operator of onnxruntime takes no doubles, and a copy of every value's past is slow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from roadworthy.models.onnx_graph import Graph
from roadworthy.models.outliers.detectors import (
    HIGHEST,
    MAD_TO_DEVIATION,
    SEASONS,
    STEP_TOLERANCE,
    STILL,
    Detector,
    Forecast,
    Global,
    Robust,
)
from roadworthy.models.outliers.request import NOTES, Answer, Request
from roadworthy.models.outliers.table import STEP_S

_SMALLEST_BLOCK = 32


def export(estimator: Detector) -> onnx.ModelProto:
    """Return the fitted detector as an ONNX model.

    Raises
    ------
    TypeError
        There is no graph for it.
    """
    add = _DEVIATIONS.get(type(estimator))
    if add is None:
        raise TypeError(
            f"{type(estimator).__name__} cannot be exported: give it a graph in {__name__}, or "
            f"train another candidate."
        )
    graph = Graph()
    count = _length(graph, "values")
    zero, one = graph.add("Sub", count, count), graph.integers(1)
    places = graph.add("Range", *(_scalar(graph, name) for name in (zero, count, one)))
    known = graph.add("GreaterOrEqual", places, graph.integers(estimator.memory - 1))
    judged = _judged(graph, known, count, estimator.memory)
    found = add(graph, estimator)
    graph.add("Where", judged, found, graph.constant(0.0), output="score")
    level = graph.add("Mul", "score", graph.constant(0.0))
    graph.add("Add", level, graph.constant(estimator.bound_), output="bound")
    graph.add("Greater", "score", "bound", output="outlier")
    return graph.model("outliers", Request, Answer)


def _judged(graph: Graph, known: str, count: str, memory: int) -> str:
    """Add the outputs ``judged`` and ``note``; return the first, [N, values]."""
    still, odd = _still(graph), _odd(graph, count)
    # Without a memory the kernel is a zero: a gap changes nothing.
    seen = _filtered(graph, odd, np.ones(memory - 1) if memory > 1 else np.zeros(1))
    gap = graph.add("Greater", seen, graph.constant(0.5))
    apart = graph.add("Abs", graph.add("Sub", "step_s", graph.constant(float(STEP_S))))
    step = graph.add("Greater", apart, graph.constant(STEP_TOLERANCE * STEP_S))
    total = graph.add("ReduceSum", odd, graph.integers(1), keepdims=0)
    gaps = graph.add("Cast", graph.add("Sub", count, graph.integers(1)), to=TensorProto.DOUBLE)
    other_step = graph.add("Or", step, graph.add("Equal", total, gaps))
    times = _length(graph, "timestamps")
    some = graph.add("Greater", times, graph.integers(0))
    differ = graph.add("And", some, graph.add("Not", graph.add("Equal", times, count)))
    holds = (
        graph.add("ReduceMax", _number(graph, still), graph.integers(1), keepdims=0),
        graph.add("ReduceMax", odd, graph.integers(1), keepdims=0),
        _number(graph, other_step),
        _number(graph, differ),
    )
    weighed = [
        graph.add("Mul", one, graph.constant(float(place))) for place, one in enumerate(holds, 1)
    ]
    worst = graph.add("Cast", graph.add("Max", *weighed), to=TensorProto.INT64)
    graph.add("Gather", graph.strings(NOTES), worst, output="note")
    refused = graph.add("Unsqueeze", graph.add("Or", other_step, differ), graph.integers(1))
    unjudged = graph.add("Or", graph.add("Or", gap, still), refused)
    return graph.add("And", known, graph.add("Not", unjudged), output="judged")


def _still(graph: Graph) -> str:
    """Add whether the sensor repeats a value for long, [N, values]."""
    same = graph.add("Equal", _slice(graph, "values", 1), _slice(graph, "values", 0, -1))
    marks = graph.add("Pad", _number(graph, same), graph.integers(0, 1, 0, 0))
    repeated = _filtered(graph, marks, np.ones(STILL - 1))
    return graph.add("Greater", repeated, graph.constant(STILL - 1.5))


def _odd(graph: Graph, count: str) -> str:
    """Add 1 where a value does not come a step after the one before it, [N, values]."""
    zeros = graph.add("Mul", "values", graph.constant(0.0))
    both = graph.add("Concat", "timestamps", zeros, axis=1)
    times = graph.add("Slice", both, graph.integers(0), count, graph.integers(1))
    apart = graph.add("Sub", _slice(graph, times, 1), _slice(graph, times, 0, -1))
    off = graph.add("Abs", graph.add("Sub", apart, graph.constant(float(STEP_S))))
    odd = graph.add("Greater", off, graph.constant(STEP_TOLERANCE * STEP_S))
    given = graph.add("Equal", _length(graph, "timestamps"), count)
    marks = _number(graph, graph.add("And", odd, given))
    return graph.add("Pad", marks, graph.integers(0, 1, 0, 0))


def _global(graph: Graph, detector: Global) -> str:
    apart = graph.add("Abs", graph.add("Sub", "values", graph.constant(detector.mean_)))
    return graph.add("Div", apart, graph.constant(detector.deviation_))


def _forecast(graph: Graph, detector: Forecast) -> str:
    raw = _filtered(graph, "values", detector.kernel_)
    moved = graph.add("Add", raw, graph.constant(detector.offset_))
    errors = graph.add("Clip", moved, graph.constant(-HIGHEST), graph.constant(HIGHEST))
    # The first errors are made without a whole past; no value that is judged has one of them.
    squares = graph.add("Mul", errors, errors)
    mean = _filtered(graph, squares, np.full(detector.energy, 1 / detector.energy))
    return graph.add("Sqrt", mean)


def _robust(graph: Graph, detector: Robust) -> str:
    period, window, span = detector.period, detector.window, SEASONS * detector.period
    first, second, third = (
        _slice(graph, "values", at * period, at * period - span) for at in range(SEASONS)
    )
    low, high = graph.add("Min", first, second), graph.add("Max", first, second)
    season = graph.add("Max", low, graph.add("Min", high, third))
    rest = graph.add("Sub", _slice(graph, "values", span), season)
    total = graph.add("Sub", _length(graph, rest), graph.integers(window))
    zero, one = graph.integers(0), graph.integers(1)
    starts = graph.add("Range", *(_scalar(graph, name) for name in (zero, total, one)))
    steps = graph.integers(*range(window))
    places = graph.add("Add", graph.add("Unsqueeze", starts, graph.integers(1)), steps)
    before = graph.add("Gather", rest, places, axis=1)
    centre = _median(graph, before, window)
    apart = graph.add("Abs", graph.add("Sub", before, centre))
    spread = graph.add("Mul", _median(graph, apart, window), graph.constant(MAD_TO_DEVIATION))
    divisor = graph.add("Max", spread, graph.constant(detector.floor_))
    value = graph.add("Unsqueeze", _slice(graph, rest, window), graph.integers(2))
    far = graph.add("Div", graph.add("Abs", graph.add("Sub", value, centre)), divisor)
    scores = graph.add("Squeeze", graph.add("Min", far, graph.constant(HIGHEST)), graph.integers(2))
    return graph.add("Pad", scores, graph.integers(0, span + window, 0, 0))


_DEVIATIONS: dict[type, Callable[..., str]] = {
    Global: _global,
    Robust: _robust,
    Forecast: _forecast,
}


def _median(graph: Graph, value: str, count: int) -> str:
    """Add the median over the last axis of ``count`` values, which stays with length 1."""
    ordered = f"{value}_ordered"
    graph.nodes.append(
        onnx.helper.make_node(
            "TopK", [value, graph.integers(count)], [ordered, f"{value}_places"], largest=0, axis=2
        )
    )
    middle = graph.integers((count - 1) // 2, count // 2)
    both = graph.add("Gather", ordered, middle, axis=2)
    return graph.add("ReduceMean", both, graph.integers(2), keepdims=1)


def _filtered(graph: Graph, value: str, kernel: npt.NDArray[np.float64]) -> str:
    """Add the product of the kernel with each value and those before it, [N, values].

    Before the first value there are zeros. ``kernel[0]`` belongs to the value itself.
    """
    block = max(_SMALLEST_BLOCK, len(kernel) - 1)
    matrix = np.zeros((2 * block, block))
    for column in range(block):
        matrix[block + column - np.arange(len(kernel)), column] = kernel
    count = _length(graph, value)
    rest = graph.add("Mod", graph.add("Neg", count), graph.integers(block))
    zero = graph.integers(0)
    pads = graph.add("Concat", zero, graph.integers(block), zero, rest, axis=0)
    shape = graph.integers(0, -1, block)
    blocks = graph.add("Reshape", graph.add("Pad", value, pads), shape)
    pairs = graph.add("Concat", _slice(graph, blocks, 0, -1), _slice(graph, blocks, 1), axis=2)
    products = graph.add("MatMul", pairs, graph.constant(matrix))
    row = graph.add("Reshape", products, graph.integers(0, -1))
    return graph.add("Slice", row, zero, count, graph.integers(1))


def _slice(graph: Graph, value: str, start: int, stop: int = np.iinfo(np.int64).max) -> str:
    """Add the part of the second axis from ``start`` to before ``stop``."""
    return graph.add("Slice", value, graph.integers(start), graph.integers(stop), graph.integers(1))


def _length(graph: Graph, value: str) -> str:
    """Add the length of the second axis, [1]."""
    return graph.add("Shape", value, start=1, end=2)


def _scalar(graph: Graph, value: str) -> str:
    return graph.add("Squeeze", value)


def _number(graph: Graph, value: str) -> str:
    return graph.add("Cast", value, to=TensorProto.DOUBLE)
