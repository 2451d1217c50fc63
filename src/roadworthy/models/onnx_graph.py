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

from roadworthy.models.tensors import FieldType, parse

OPSET = 20
TREES, ML_OPSET = "ai.onnx.ml", 3
"""The domain of the operators of trees and other estimators, and its version."""
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
        return [("", OPSET), *([(TREES, ML_OPSET)] if trees else [])]

    def _initialize(self, value: npt.NDArray[Any]) -> str:
        name = f"Constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name


@dataclass(frozen=True)
class Term:
    """A tensor of doubles in a graph, with which one calculates as with an array."""

    graph: Graph
    name: str

    def __add__(self, other: Term | float) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._with("Mul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._with("Div", other)

    def floor(self) -> Term:
        """Return the greatest integers that are not above it."""
        return Term(self.graph, self.graph.add("Floor", self.name))

    def sin(self) -> Term:
        """Return the sine; ``numpy.sin`` calls it."""
        return Term(self.graph, self.graph.add("Sin", self.name))

    def sqrt(self) -> Term:
        """Return the square root; ``numpy.sqrt`` calls it."""
        return Term(self.graph, self.graph.add("Sqrt", self.name))

    def _with(self, operator: str, other: Term | float) -> Term:
        operand = other.name if isinstance(other, Term) else self.graph.constant(other)
        return Term(self.graph, self.graph.add(operator, self.name, operand))


def _columns(record: type[BaseModel]) -> list[onnx.ValueInfoProto]:
    schema = record.model_json_schema()
    fields = parse(schema)
    return [_column(fields[name]) for name in schema["properties"]]


def _column(field: FieldType) -> onnx.ValueInfoProto:
    lengths = [f"{field.name}_length" if size is None else size for size in field.shape]
    return helper.make_tensor_value_info(field.name, _ELEMENTS[field.dtype], ["N", *lengths])
