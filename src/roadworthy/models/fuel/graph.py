"""A fitted fuel estimator as one ONNX graph.

The graph is composed of standard operators in double precision, because the converters at hand
have none for the imputation, no double-precision support vectors (their float32 differs by more
than 1e-5) and put random names into the graph. Inputs and outputs are columns: one tensor of shape
[N] for each field of a request and of an answer. A missing number is NaN, a missing string is
empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from roadworthy.models.fuel.estimator import (
    LOGGED,
    WEIGHT_CENTRE,
    YEAR_CENTRE,
    YEAR_SCALE,
    CarFeatures,
    FuelEstimator,
)
from roadworthy.models.fuel.request import Answer, Request
from roadworthy.models.fuel.table import OPTIONAL_NUMBERS, ORIGINS, REQUIRED
from roadworthy.models.fuel.units import L_PER_100KM_TIMES_MPG
from roadworthy.models.onnx_export import add_estimator
from roadworthy.models.onnx_graph import Graph

# What is logged comes first, so that one operator takes all logarithms. A few operators on all
# columns at once take two thirds of the time of an operator for each column.
_LOGGED = [name for name in (*REQUIRED, *OPTIONAL_NUMBERS) if name in LOGGED]
_NUMBERS = [*_LOGGED, *(name for name in (*REQUIRED, *OPTIONAL_NUMBERS) if name not in LOGGED)]
_BASE = 6
"""How many terms a quadratic in weight and year has, the constant included."""


def export(estimator: FuelEstimator) -> onnx.ModelProto:
    """Return the fitted estimator as an ONNX model: the request's columns in, the answer's out.

    Raises
    ------
    ExportError
        The estimator has a step for which there is no converter.
    """
    graph = Graph()
    inputs = _inputs(graph)
    value = _features(graph, estimator.point_[0], inputs)
    value = add_estimator(graph, estimator.point_[1:], value)
    half = _half_width(graph, estimator, inputs)
    _answer(graph, centre=graph.add("Squeeze", value, graph.integers(1)), half=half)
    return graph.model("fuel", Request, Answer)


class _Inputs(NamedTuple):
    """The inputs, in matrices with a row for each column of the request.

    ``numbers`` is [numbers, N] in the order of ``_NUMBERS``, ``unknown`` whether each is left out,
    ``no_origin`` [N] whether the origin is.
    """

    numbers: str
    unknown: str
    no_origin: str


def _inputs(graph: Graph) -> _Inputs:
    logarithms = graph.add("Log", graph.add("Concat", *_LOGGED, axis=0))
    every = graph.add("Concat", logarithms, *_NUMBERS[len(_LOGGED) :], axis=0)
    numbers = graph.add("Reshape", every, graph.integers(len(_NUMBERS), -1))
    no_origin = graph.add("Equal", "origin", graph.strings(""))
    return _Inputs(numbers, graph.add("IsNaN", numbers), no_origin)


def _features(graph: Graph, features: CarFeatures, inputs: _Inputs) -> str:
    """Add :meth:`CarFeatures.transform`: a matrix [N, features]."""
    base = _quadratic(graph, inputs.numbers)
    known = features.coefficients_
    never = np.zeros(_BASE)  # of weight and year, which are never left out, and of what is not used
    imputed = _from_base(graph, base, [known.get(name, never) for name in _NUMBERS])
    rows, names = graph.add("Where", inputs.unknown, imputed, inputs.numbers), list(_NUMBERS)
    wanted = [name for name in features.columns if name != "origin"]
    if "origin" in features.columns:
        origins = _origins(
            graph, _from_base(graph, base, [known[name] for name in ORIGINS]), inputs
        )
        rows, names = graph.add("Concat", rows, origins, axis=0), [*names, *ORIGINS]
        wanted += ORIGINS
    chosen = graph.integers(*(names.index(name) for name in wanted))
    return graph.add("Transpose", graph.add("Gather", rows, chosen, axis=0), perm=[1, 0])


def _quadratic(graph: Graph, numbers: str) -> str:
    """Add weight w, year y, w^2, wy and y^2, centred: a matrix [5, N]."""
    places = graph.integers(_NUMBERS.index("weight_kg"), _NUMBERS.index("year"))
    both = graph.add("Gather", numbers, places, axis=0)
    centred = graph.add("Sub", both, graph.constant([[WEIGHT_CENTRE], [YEAR_CENTRE]]))
    scaled = graph.add("Div", centred, graph.constant([[1.0], [YEAR_SCALE]]))
    left = graph.add("Gather", scaled, graph.integers(0, 0, 1), axis=0)
    right = graph.add("Gather", scaled, graph.integers(0, 1, 1), axis=0)
    return graph.add("Concat", scaled, graph.add("Mul", left, right), axis=0)


def _origins(graph: Graph, shares: str, inputs: _Inputs) -> str:
    """Add the origin as [origins, N]: 1 or 0, or its imputed share where it is left out."""
    shares = graph.add("Clip", shares, graph.constant(0.0), graph.constant(1.0))
    is_it = graph.add("Equal", "origin", graph.strings([[name] for name in ORIGINS]))
    is_it = graph.add("Cast", is_it, to=TensorProto.DOUBLE)
    return graph.add("Where", inputs.no_origin, shares, is_it)


def _from_base(graph: Graph, base: str, coefficients: Sequence[npt.NDArray[np.float64]]) -> str:
    """Add what is linear in 1 and the base: a matrix [coefficients, N]."""
    matrix = np.array(coefficients)
    product = graph.add("MatMul", graph.constant(matrix[:, 1:]), base)
    return graph.add("Add", product, graph.constant(matrix[:, :1]))


def _half_width(graph: Graph, estimator: FuelEstimator, inputs: _Inputs) -> str:
    any_number = graph.add("ReduceMax", inputs.unknown, graph.integers(0), keepdims=0)
    incomplete = graph.add("Or", any_number, inputs.no_origin)
    widths = graph.constant(estimator.incomplete_), graph.constant(estimator.complete_)
    return graph.add("Where", incomplete, *widths)


def _answer(graph: Graph, *, centre: str, half: str) -> None:
    """Add :meth:`FuelEstimator.predict`: from the logarithm of mpg [N] to the outputs."""
    product = graph.constant(L_PER_100KM_TIMES_MPG)
    low, high = graph.add("Sub", centre, half), graph.add("Add", centre, half)
    for logarithm, mpg, litres in (
        (centre, "mpg", "l_per_100km"),
        (low, "mpg_low", "l_per_100km_high"),
        (high, "mpg_high", "l_per_100km_low"),
    ):
        graph.add("Exp", logarithm, output=mpg)
        graph.add("Div", product, mpg, output=litres)
