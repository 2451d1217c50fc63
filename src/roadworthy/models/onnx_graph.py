"""The pieces of which a model composes its ONNX graph, in double precision.

Inputs and outputs are columns: one tensor for each field of a request and of an answer, with a
leading batch dimension, see :mod:`roadworthy.models.tensors`. A missing number is NaN, a missing
string is empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydantic import BaseModel
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVR

from roadworthy.models.tensors import FieldType, parse

OPSET = 20
TREES, TREES_OPSET = "ai.onnx.ml", 3
"""The domain of the operators of trees."""
_ELEMENTS: dict[type, int] = {
    np.float64: TensorProto.DOUBLE,
    np.bool_: TensorProto.BOOL,
    np.uint8: TensorProto.UINT8,
    object: TensorProto.STRING,
}
IR_VERSION = 10


@dataclass
class Graph:
    """Nodes and constants in the order in which they were added, named by it.

    The names that are given here begin with a capital, so a column in small letters has none of
    them.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """Add numbers and return their name."""
        return self._initialize(np.asarray(value, dtype=np.float64))

    def integers(self, *values: int) -> str:
        """Add a vector of integers and return its name."""
        return self._initialize(np.asarray(values, dtype=np.int64))

    def strings(self, value: npt.ArrayLike) -> str:
        """Add a string, or strings, and return their name."""
        return self._initialize(np.asarray(value, dtype=object))

    def model(
        self, name: str, request: type[BaseModel], answer: type[BaseModel]
    ) -> onnx.ModelProto:
        """Return the graph as a checked model.

        Parameters
        ----------
        request, answer
            Its inputs and outputs, by name and type: see :func:`roadworthy.models.tensors.parse`.
        """
        inputs, outputs = _columns(request), _columns(answer)
        model = helper.make_model(
            helper.make_graph(self.nodes, name, inputs, outputs, self.initializers),
            opset_imports=[helper.make_opsetid(*one) for one in self._opsets()],
            ir_version=IR_VERSION,
            producer_name="roadworthy",
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _opsets(self) -> list[tuple[str, int]]:
        trees = any(node.domain == TREES for node in self.nodes)
        return [("", OPSET), *([(TREES, TREES_OPSET)] if trees else [])]

    def _initialize(self, value: npt.NDArray[Any]) -> str:
        name = f"Constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name


def add_columns(graph: Graph, transformer: ColumnTransformer) -> str:
    """Add a fitted column transformer: from the inputs of its columns to a matrix [N, n].

    Numbers go through a :class:`SimpleImputer`, strings through a :class:`OneHotEncoder`, in which
    an unknown string is none of the known ones.

    Raises
    ------
    TypeError
        It has another step, for which there is no graph.
    """
    parts = []
    for name, step, columns in transformer.transformers_:
        if name == "remainder" or not len(columns):
            continue
        inputs = [graph.add("Unsqueeze", column, graph.integers(1)) for column in columns]
        if isinstance(step, SimpleImputer):
            parts += [
                graph.add("Where", graph.add("IsNaN", value), graph.constant(instead), value)
                for value, instead in zip(inputs, step.statistics_, strict=True)
            ]
        elif isinstance(step, OneHotEncoder):
            for value, known in zip(inputs, step.categories_, strict=True):
                found = [graph.add("Equal", value, graph.strings(str(word))) for word in known]
                parts += [graph.add("Cast", is_it, to=TensorProto.DOUBLE) for is_it in found]
        else:
            raise _no_graph(step)
    return graph.add("Concat", *parts, axis=1)


def add_step(graph: Graph, step: object, value: str) -> str:
    """Add one fitted step of a pipeline: from a matrix [N, n] to a matrix [N, m].

    Of a classifier these are the probabilities of its classes.

    Raises
    ------
    TypeError
        There is no graph for it.
    """
    if isinstance(step, StandardScaler):
        centred = graph.add("Sub", value, graph.constant(step.mean_))
        return graph.add("Div", centred, graph.constant(step.scale_))
    if isinstance(step, PolynomialFeatures):
        return _powers(graph, step, value)
    if isinstance(step, LinearRegression | Ridge):
        product = graph.add("MatMul", value, graph.constant(step.coef_[:, None]))
        return graph.add("Add", product, graph.constant(step.intercept_))
    if isinstance(step, LogisticRegression):
        return _logistic(graph, step, value)
    if isinstance(step, DummyClassifier) and step.strategy == "prior":
        zero = graph.add("Mul", value, graph.constant(0.0))
        zeros = graph.add("ReduceSum", zero, graph.integers(1), keepdims=1)
        return graph.add("Add", zeros, graph.constant(step.class_prior_))
    if isinstance(step, SVR):
        return _support_vectors(graph, step, value)
    raise _no_graph(step)


def _no_graph(step: object) -> TypeError:
    return TypeError(
        f"{type(step).__name__} cannot be exported: give it a graph in {__name__}, "
        f"or train another candidate."
    )


def _powers(graph: Graph, step: PolynomialFeatures, value: str) -> str:
    """Add the products that ``step.powers_`` names, one column each."""
    columns = [
        graph.add("Gather", value, graph.integers(index), axis=1)
        for index in range(step.n_features_in_)
    ]
    products = []
    for powers in step.powers_:
        factors = [columns[index] for index, power in enumerate(powers) for _ in range(power)]
        product = factors[0]
        for factor in factors[1:]:
            product = graph.add("Mul", product, factor)
        products.append(product)
    return graph.add("Concat", *products, axis=1)


def _logistic(graph: Graph, step: LogisticRegression, value: str) -> str:
    """Add the softmax of one linear function for each class."""
    coefficients, intercepts = step.coef_, step.intercept_
    if len(step.classes_) == 2:  # of two classes it has the second one's function only
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.append(0.0, intercepts)
    product = graph.add("MatMul", value, graph.constant(coefficients.T))
    scores = graph.add("Add", product, graph.constant(intercepts))
    return graph.add("Softmax", scores, axis=1)


def _support_vectors(graph: Graph, step: SVR, value: str) -> str:
    """Add the radial kernel: ``sum_i a_i exp(-gamma |x - v_i|^2) + b``."""
    if step.kernel != "rbf":
        raise TypeError(f"An SVR with a {step.kernel} kernel cannot be exported: use kernel='rbf'.")
    # |x - v|^2 as |x|^2 - 2 x.v + |v|^2: a product of two matrices in place of a difference for
    # each pair and feature, which takes five times as long for a batch of 100.
    gamma, vectors = step._gamma, step.support_vectors_
    squares = graph.add("ReduceSum", graph.add("Mul", value, value), graph.integers(1), keepdims=1)
    products = graph.add("MatMul", value, graph.constant(2 * gamma * vectors.T))
    shifted = graph.add("Add", products, graph.constant(-gamma * (vectors**2).sum(axis=1)))
    exponent = graph.add("Sub", shifted, graph.add("Mul", squares, graph.constant(gamma)))
    kernel = graph.add("Exp", exponent)
    product = graph.add("MatMul", kernel, graph.constant(step.dual_coef_.T))
    return graph.add("Add", product, graph.constant(step.intercept_))


def _columns(record: type[BaseModel]) -> list[onnx.ValueInfoProto]:
    schema = record.model_json_schema()
    fields = parse(schema)
    return [_column(fields[name]) for name in schema["properties"]]


def _column(field: FieldType) -> onnx.ValueInfoProto:
    lengths = [f"{field.name}_length" if size is None else size for size in field.shape]
    return helper.make_tensor_value_info(field.name, _ELEMENTS[field.dtype], ["N", *lengths])
