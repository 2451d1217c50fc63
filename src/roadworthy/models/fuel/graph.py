"""A fitted fuel estimator as one ONNX graph.

The graph is composed of standard operators in double precision, because the converters at hand
have none for the imputation, no double-precision support vectors (their float32 differs by more
than 1e-5) and put random names into the graph. Inputs and outputs are columns: one tensor of shape
[N] for each field of a request and of an answer. A number that is left out is not a number, a word
that is left out is empty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from roadworthy.models.fuel.dataset import COLUMNS, OPTIONAL_NUMBERS, ORIGINS
from roadworthy.models.fuel.estimator import (
    ANSWER,
    LOGGED,
    WEIGHT_CENTRE,
    YEAR_CENTRE,
    YEAR_SCALE,
    CarFeatures,
    FuelEstimator,
)
from roadworthy.models.fuel.units import L_PER_100KM_TIMES_MPG
from roadworthy.models.onnx_graph import Graph, add_step


def export(estimator: FuelEstimator) -> onnx.ModelProto:
    """Return the fitted estimator as an ONNX model: the request's columns in, the answer's out.

    Raises
    ------
    TypeError
        The estimator has a step for which there is no graph.
    """
    graph = Graph()
    steps = [step for _, step in estimator.point_.steps]
    value = _features(graph, steps[0])
    for step in steps[1:]:
        value = add_step(graph, step, value)
    _answer(graph, estimator, centre=graph.add("Squeeze", value, graph.integers(1)))
    return graph.model("fuel", columns=COLUMNS, words=["origin"], answer=ANSWER)


def _features(graph: Graph, features: CarFeatures) -> str:
    """Add :meth:`CarFeatures.transform`: from the inputs to a matrix [N, features]."""
    columns = {name: graph.add("Unsqueeze", name, graph.integers(1)) for name in features.columns}
    numbers = {
        name: graph.add("Log", value) if name in LOGGED else value
        for name, value in columns.items()
        if name != "origin"
    }
    base = _quadratic(graph, numbers["weight_kg"], numbers["year"])
    parts = []
    for name, value in numbers.items():
        if name in OPTIONAL_NUMBERS:
            imputed = _from_base(graph, base, features.coefficients_[name])
            parts.append(graph.add("Where", graph.add("IsNaN", value), imputed, value))
        else:
            parts.append(value)
    if "origin" in columns:
        parts += _origins(graph, base, columns["origin"], features)
    return graph.add("Concat", *parts, axis=1)


def _quadratic(graph: Graph, log_weight: str, year: str) -> str:
    weight = graph.add("Sub", log_weight, graph.constant(WEIGHT_CENTRE))
    centred = graph.add("Sub", year, graph.constant(YEAR_CENTRE))
    years = graph.add("Div", centred, graph.constant(YEAR_SCALE))
    one = graph.add("Add", graph.add("Sub", weight, weight), graph.constant(1.0))
    squares = (
        graph.add("Mul", weight, weight),
        graph.add("Mul", weight, years),
        graph.add("Mul", years, years),
    )
    return graph.add("Concat", one, weight, years, *squares, axis=1)


def _origins(graph: Graph, base: str, origin: str, features: CarFeatures) -> list[str]:
    left_out = graph.add("Equal", origin, graph.word(""))
    parts = []
    for name in ORIGINS:
        share = _from_base(graph, base, features.coefficients_[name])
        share = graph.add("Clip", share, graph.constant(0.0), graph.constant(1.0))
        is_it = graph.add("Equal", origin, graph.word(name))
        is_it = graph.add("Cast", is_it, to=TensorProto.DOUBLE)
        parts.append(graph.add("Where", left_out, share, is_it))
    return parts


def _from_base(graph: Graph, base: str, coefficients: npt.NDArray[np.float64]) -> str:
    return graph.add("MatMul", base, graph.constant(coefficients[:, None]))


def _answer(graph: Graph, estimator: FuelEstimator, centre: str) -> None:
    """Add :meth:`FuelEstimator.predict`: from the logarithm of mpg [N] to the outputs."""
    half = _half_width(graph, estimator)
    product = graph.constant(L_PER_100KM_TIMES_MPG)
    low, high = graph.add("Sub", centre, half), graph.add("Add", centre, half)
    for logarithm, mpg, litres in (
        (centre, "mpg", "l_per_100km"),
        (low, "mpg_low", "l_per_100km_high"),
        (high, "mpg_high", "l_per_100km_low"),
    ):
        graph.add("Exp", logarithm, output=mpg)
        graph.add("Div", product, mpg, output=litres)


def _half_width(graph: Graph, estimator: FuelEstimator) -> str:
    incomplete = graph.add("Equal", "origin", graph.word(""))
    for name in OPTIONAL_NUMBERS:
        incomplete = graph.add("Or", incomplete, graph.add("IsNaN", name))
    widths = graph.constant(estimator.incomplete_), graph.constant(estimator.complete_)
    return graph.add("Where", incomplete, *widths)
