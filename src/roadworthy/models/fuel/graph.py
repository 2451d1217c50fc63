"""A fitted fuel estimator as one ONNX graph.

The graph is composed of standard operators in double precision, because the converters at hand
have none for the imputation, no double-precision support vectors (their float32 differs by more
than 1e-5) and put random names into the graph. Inputs and outputs are columns: one tensor of shape
[N] for each field of a request and of an answer. A number that is left out is not a number, a word
that is left out is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVR

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

OPSET = 20
IR_VERSION = 10


def export(estimator: FuelEstimator) -> onnx.ModelProto:
    """Return the fitted estimator as an ONNX model: the request's columns in, the answer's out.

    Raises
    ------
    TypeError
        The estimator has a step for which there is no graph.
    """
    graph = _Graph()
    steps = [step for _, step in estimator.point_.steps]
    value = _features(graph, steps[0])
    for step in steps[1:]:
        value = _step(graph, step, value)
    _answer(graph, estimator, centre=graph.add("Squeeze", value, graph.integers(1)))
    inputs = [_column(name, _element_type(name)) for name in COLUMNS]
    outputs = [_column(name, TensorProto.DOUBLE) for name in ANSWER]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "fuel", inputs, outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="roadworthy",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass
class _Graph:
    """Nodes and constants in the order in which they were added, named by it."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """Add numbers and return their name."""
        return self._initialize(np.asarray(value, dtype=np.float64))

    def integers(self, *values: int) -> str:
        """Add a vector of integers and return its name."""
        return self._initialize(np.asarray(values, dtype=np.int64))

    def word(self, value: str) -> str:
        """Add a word and return its name."""
        return self._initialize(np.asarray(value, dtype=object))

    def _initialize(self, value: npt.NDArray[Any]) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name


def _features(graph: _Graph, features: CarFeatures) -> str:
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


def _quadratic(graph: _Graph, log_weight: str, year: str) -> str:
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


def _origins(graph: _Graph, base: str, origin: str, features: CarFeatures) -> list[str]:
    left_out = graph.add("Equal", origin, graph.word(""))
    parts = []
    for name in ORIGINS:
        share = _from_base(graph, base, features.coefficients_[name])
        share = graph.add("Clip", share, graph.constant(0.0), graph.constant(1.0))
        is_it = graph.add("Equal", origin, graph.word(name))
        is_it = graph.add("Cast", is_it, to=TensorProto.DOUBLE)
        parts.append(graph.add("Where", left_out, share, is_it))
    return parts


def _from_base(graph: _Graph, base: str, coefficients: npt.NDArray[np.float64]) -> str:
    return graph.add("MatMul", base, graph.constant(coefficients[:, None]))


def _step(graph: _Graph, step: object, value: str) -> str:
    """Add one fitted step of the pipeline: from a matrix [N, n] to a matrix [N, m]."""
    if isinstance(step, StandardScaler):
        centred = graph.add("Sub", value, graph.constant(step.mean_))
        return graph.add("Div", centred, graph.constant(step.scale_))
    if isinstance(step, PolynomialFeatures):
        return _powers(graph, step, value)
    if isinstance(step, LinearRegression | Ridge):
        product = graph.add("MatMul", value, graph.constant(step.coef_[:, None]))
        return graph.add("Add", product, graph.constant(step.intercept_))
    if isinstance(step, SVR):
        return _support_vectors(graph, step, value)
    raise TypeError(
        f"{type(step).__name__} cannot be exported: give it a graph in {__name__}, "
        f"or train another candidate."
    )


def _powers(graph: _Graph, step: PolynomialFeatures, value: str) -> str:
    """Add the products that ``step.powers_`` names, one column each."""

    def column(index: int) -> str:
        return graph.add("Gather", value, graph.integers(index), axis=1)

    columns = [column(index) for index in range(step.n_features_in_)]
    products = []
    for powers in step.powers_:
        factors = [columns[index] for index, power in enumerate(powers) for _ in range(power)]
        product = factors[0]
        for factor in factors[1:]:
            product = graph.add("Mul", product, factor)
        products.append(product)
    return graph.add("Concat", *products, axis=1)


def _support_vectors(graph: _Graph, step: SVR, value: str) -> str:
    """Add the radial kernel: ``sum_i a_i exp(-gamma |x - v_i|^2) + b``."""
    if step.kernel != "rbf":
        raise TypeError(f"An SVR with a {step.kernel} kernel cannot be exported: use kernel='rbf'.")
    rows = graph.add("Unsqueeze", value, graph.integers(1))
    difference = graph.add("Sub", rows, graph.constant(step.support_vectors_[None, :, :]))
    squared = graph.add("Mul", difference, difference)
    distance = graph.add("ReduceSum", squared, graph.integers(2), keepdims=0)
    exponent = graph.add("Mul", distance, graph.constant(-step._gamma))
    kernel = graph.add("Exp", exponent)
    product = graph.add("MatMul", kernel, graph.constant(step.dual_coef_.T))
    return graph.add("Add", product, graph.constant(step.intercept_))


def _answer(graph: _Graph, estimator: FuelEstimator, centre: str) -> None:
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


def _half_width(graph: _Graph, estimator: FuelEstimator) -> str:
    incomplete = graph.add("Equal", "origin", graph.word(""))
    for name in OPTIONAL_NUMBERS:
        incomplete = graph.add("Or", incomplete, graph.add("IsNaN", name))
    widths = graph.constant(estimator.incomplete_), graph.constant(estimator.complete_)
    return graph.add("Where", incomplete, *widths)


def _element_type(name: str) -> int:
    return int(TensorProto.STRING if name == "origin" else TensorProto.DOUBLE)


def _column(name: str, element_type: int) -> onnx.ValueInfoProto:
    shape: Sequence[str] = ["N"]
    return helper.make_tensor_value_info(name, element_type, shape)
