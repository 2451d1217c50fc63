"""Export a fitted scikit-learn estimator as an ONNX graph.

:func:`convert` makes the whole graph of a model that answers with a prediction. A model with
features or post-processing of its own composes a :class:`~roadworthy.models.onnx_graph.Graph`, and
adds the estimator to it with :func:`add_estimator`.

Pipelines and column transformers are exported step by step, with numbers in double precision
between the steps. A step with a method ``add_to(graph, value) -> str``, such as
:class:`roadworthy.models.dates.Dates`, adds itself. Any other one computes in double precision
where its converter and ONNX Runtime do, otherwise in float32, to which scikit-learn's own trees
and forests round their inputs, too. A meta-estimator, such as a stack, is one step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto
from pydantic import BaseModel
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from roadworthy.models import onnx_converters
from roadworthy.models.contract import ExportError
from roadworthy.models.onnx_graph import ML_OPSET, OPSET, Graph
from roadworthy.models.tensors import parse

_FUNCTIONS: Mapping[Callable[..., Any], Sequence[tuple[str, *tuple[float, ...]]]] = {
    np.log: [("Log",)],
    np.log1p: [("Add", 1.0), ("Log",)],
    np.exp: [("Exp",)],
    np.expm1: [("Exp",), ("Sub", 1.0)],
    np.sqrt: [("Sqrt",)],
    np.square: [("Pow", 2.0)],
    np.abs: [("Abs",)],
}
"""The operators of a function, each with its second operand."""


def convert(
    name: str, estimator: Any, request: type[BaseModel], answer: type[BaseModel]
) -> onnx.ModelProto:
    """Return a fitted regressor or classifier as an ONNX model; equal ones give the same bytes.

    Parameters
    ----------
    name
        The name of the graph.
    estimator
        It was fitted to a frame with columns of the request.
    request
        Its fields are the inputs: numbers, booleans and strings.
    answer
        Its first field is the prediction. Further fields are the probabilities of a classifier, in
        the order of ``classes_``; the prediction is then the most probable class.

    Raises
    ------
    ExportError
        A step has no converter, or the answer does not fit. It names the step and what to do.
    """
    graph = Graph()
    prediction, *rest = answer.model_fields
    if not rest:
        value = add_estimator(graph, estimator, request, labels=True)
        graph.add("Reshape", value, graph.integers(-1), output=prediction)
        return graph.model(name, request, answer)
    classes = list(getattr(estimator, "classes_", ()))
    if len(rest) != len(classes):
        raise ExportError(
            f"The answer has {len(rest)} fields beside {prediction}, and the estimator "
            f"{len(classes)} classes: give each class one field, for its probability."
        )
    value = add_estimator(graph, estimator, request)
    # Those in float32 add up to 1 to seven digits only.
    total = graph.add("ReduceSum", value, graph.integers(1), keepdims=1)
    value = graph.add("Div", value, total)
    known = graph.strings(classes) if isinstance(classes[0], str) else graph.constant(classes)
    most = graph.add("ArgMax", value, axis=1, keepdims=0)
    graph.add("Gather", known, most, output=prediction)
    for number, field in enumerate(rest):
        column = graph.add("Gather", value, graph.integers(number), axis=1)
        graph.add("Squeeze", column, graph.integers(1), output=field)
    return graph.model(name, request, answer)


def add_estimator(
    graph: Graph, estimator: Any, inputs: type[BaseModel] | str, *, labels: bool = False
) -> str:
    """Add a fitted estimator to a graph and return the name of its output.

    The output is a matrix of doubles: ``[N, m]`` of a transformer, ``[N, 1]`` of a regressor, and
    of a classifier the probabilities ``[N, classes]``.

    Parameters
    ----------
    inputs
        The request whose fields are the inputs of the graph, or the name of a matrix of doubles
        ``[N, n]``.
    labels
        Whether to return the labels ``[N]`` that a classifier predicts, instead of probabilities.

    Raises
    ------
    ExportError
        A step has no converter. It names the step and what to do.
    """
    onnx_converters.register()
    value = _Value(inputs) if isinstance(inputs, str) else _fields(graph, inputs)
    return _Export(graph, labels=labels).add(estimator, value, ()).name


Path = tuple[str, ...]
"""The names of the steps from the outermost estimator to one within it."""


class _Value(NamedTuple):
    """A matrix [N, m] of doubles or strings, or the columns of a frame, each [N, 1]."""

    name: str = ""
    strings: bool = False
    columns: Mapping[str, _Value] | None = None


def _fields(graph: Graph, request: type[BaseModel]) -> _Value:
    """Add the fields of a request as columns, but lists and images."""
    columns = {}
    for name, field in parse(request.model_json_schema()).items():
        if field.kind in ("list", "image"):
            continue
        column = graph.add("Unsqueeze", name, graph.integers(1))
        if field.dtype is np.bool_:
            column = graph.add("Cast", column, to=TensorProto.DOUBLE)
        columns[name] = _Value(column, field.kind == "string")
    return _Value(columns=columns)


class _Export:
    """Adds steps to a graph."""

    def __init__(self, graph: Graph, *, labels: bool) -> None:
        self._graph = graph
        self._labels = labels
        self._kinds: Mapping[type, Callable[[Any, _Value, Path], _Value]] = {
            Pipeline: self._pipeline,
            ColumnTransformer: self._column_transformer,
            TransformedTargetRegressor: self._transformed_target,
            FunctionTransformer: self._function_transformer,
            SimpleImputer: self._imputer,
            DummyClassifier: self._dummy,
            DummyRegressor: self._dummy,
        }

    def add(self, step: Any, value: _Value, path: Path) -> _Value:
        """Add a step; those of a pipeline or a column transformer one by one."""
        step = getattr(step, "best_estimator_", step)
        if hasattr(step, "add_to"):
            return _Value(step.add_to(self._graph, self._matrix(step, value, path).name))
        for kind, adder in self._kinds.items():
            if isinstance(step, kind):
                return adder(step, value, path)
        return self._convert(step, value, path)

    def _pipeline(self, step: Pipeline, value: _Value, path: Path) -> _Value:
        for name, part in step.steps:
            if part is not None and part != "passthrough":
                value = self.add(part, value, (*path, name))
        return value

    def _column_transformer(self, step: ColumnTransformer, value: _Value, path: Path) -> _Value:
        parts = []
        for name, part, _ in step.transformers_:
            positions = step._transformer_to_input_indices[name]
            if (isinstance(part, str) and part == "drop") or not len(positions):
                continue
            if value.columns is None:
                places = self._graph.integers(*positions)
                chosen = value._replace(name=self._graph.add("Gather", value.name, places, axis=1))
            else:
                names = step.feature_names_in_[positions]
                chosen = _Value(columns=_named(names, value.columns, step, path))
            within = (*path, name)
            found = self._matrix(part, self.add(part, chosen, within), within)
            if found.strings:
                raise _refused(part, within, "it gives strings", "Encode them as numbers.")
            parts.append(found.name)
        return _Value(self._graph.add("Concat", *parts, axis=1))

    def _transformed_target(
        self, step: TransformedTargetRegressor, value: _Value, path: Path
    ) -> _Value:
        if step.transformer is not None:
            raise _refused(step, path, "it has a transformer", "Set func and inverse_func.")
        value = self.add(step.regressor_, value, (*path, "regressor"))
        return self._apply(step.inverse_func, step, value, path)

    def _function_transformer(self, step: FunctionTransformer, value: _Value, path: Path) -> _Value:
        if step.func is None:
            return value
        return self._apply(step.func, step, self._matrix(step, value, path), path)

    def _apply(self, function: Any, step: Any, value: _Value, path: Path) -> _Value:
        if function is None:
            return value
        if function not in _FUNCTIONS:
            known = ", ".join(f"numpy.{one.__name__}" for one in _FUNCTIONS)
            raise _refused(step, path, "its function is not known", f"Use one of {known}.")
        name = value.name
        for operator, *operand in _FUNCTIONS[function]:
            name = self._graph.add(operator, name, *map(self._graph.constant, operand))
        return _Value(name)

    def _imputer(self, step: SimpleImputer, value: _Value, path: Path) -> _Value:
        """Add an imputer by hand: ONNX Runtime has the operator in float32 only."""
        value = self._matrix(step, value, path)
        graph, known, missing = self._graph, step.statistics_, step.missing_values
        if step.add_indicator or pd.isna(known).any() or not (value.strings or pd.isna(missing)):
            return self._convert(step, value, path)
        if value.strings:
            unknown = graph.add("Equal", value.name, graph.strings(str(missing)))
            instead = graph.strings(known)
        else:
            unknown, instead = graph.add("IsNaN", value.name), graph.constant(known)
        return value._replace(name=graph.add("Where", unknown, instead, value.name))

    def _dummy(self, step: Any, value: _Value, path: Path) -> _Value:
        if step.strategy in ("stratified", "uniform"):
            raise _refused(step, path, "its answers are random", "Set another strategy.")
        nothing = np.zeros((1, 1))
        probable = is_classifier(step) and not self._labels
        answer = (step.predict_proba if probable else step.predict)(nothing).reshape(1, -1)
        strings = isinstance(answer[0, 0], str)
        known = (self._graph.strings if strings else self._graph.constant)(answer)
        rows = self._graph.add("Shape", self._matrix(step, value, path).name, end=1)
        shape = self._graph.add("Concat", rows, self._graph.integers(answer.size), axis=0)
        return _Value(self._graph.add("Expand", known, shape), strings)

    def _convert(self, step: Any, value: _Value, path: Path) -> _Value:
        if is_classifier(step) and not self._labels and not hasattr(step, "predict_proba"):
            raise _refused(
                step,
                path,
                "it gives no probabilities",
                "Wrap it in a CalibratedClassifierCV, or answer with the label alone.",
            )
        value = self._matrix(step, value, path)
        model, element = _converted(step, path, strings=value.strings)
        _rename(model.graph, f"{type(step).__name__}_{len(self._graph.nodes)}", {})
        self._graph.add("Cast", value.name, output=model.graph.input[0].name, to=element)
        self._graph.nodes.extend(model.graph.node)
        self._graph.initializers.extend(model.graph.initializer)
        output = model.graph.output[0 if self._labels else -1]
        if output.type.tensor_type.elem_type == TensorProto.STRING:
            return _Value(output.name, strings=True)
        return _Value(self._graph.add("Cast", output.name, to=TensorProto.DOUBLE))

    def _matrix(self, step: Any, value: _Value, path: Path) -> _Value:
        """Return the columns that a step was fitted to as one matrix."""
        if value.columns is None:
            return value
        names = getattr(step, "feature_names_in_", value.columns)
        columns = list(_named(names, value.columns, step, path).values())
        if len({column.strings for column in columns}) > 1:
            raise _refused(
                step, path, "it takes strings and numbers", "Put them apart in a ColumnTransformer."
            )
        name = self._graph.add("Concat", *(column.name for column in columns), axis=1)
        return _Value(name, columns[0].strings)


_INPUT = "X"
_NUMBERS = {TensorProto.DOUBLE: DoubleTensorType, TensorProto.FLOAT: FloatTensorType}


def _converted(step: Any, path: Path, *, strings: bool) -> tuple[onnx.ModelProto, int]:
    """Return a step's graph, and the type of its input: double where that works."""
    types = {TensorProto.STRING: StringTensorType} if strings else _NUMBERS
    problem: Exception | None = None
    if isinstance(step, VotingClassifier):
        step = copy.copy(step)
        step.flatten_transform = False  # of its transform only, and has no converter otherwise
    for element, tensor in types.items():
        try:
            model = convert_sklearn(
                step,
                "step",
                [(_INPUT, tensor([None, getattr(step, "n_features_in_", 1)]))],
                target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
                options={id(step): {"zipmap": False}} if is_classifier(step) else None,
            )
            if element == TensorProto.DOUBLE and _has_float_parameters(model):
                continue
            _load(model)
        except Exception as error:  # noqa: BLE001 - a converter may raise anything
            problem = error
        else:
            return model, element
    part, where = _without_converter(step, path)
    if not onnx_converters.has_converter(part):
        raise _refused(part, where, "it has no converter") from problem
    raise _refused(step, path, f"its converter says: {_sentence(problem)}") from problem


def _load(model: onnx.ModelProto) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _has_float_parameters(model: onnx.ModelProto) -> bool:
    """Return whether a forest or the like compares doubles with thresholds in float32."""
    rounded = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT
    }
    return any(
        attribute.floats
        for node in model.graph.node
        if node.domain == "ai.onnx.ml" and node.input[0] not in rounded
        for attribute in node.attribute
    )


def _sentence(problem: Exception | None) -> str:
    return str(problem).partition("\n")[0].partition(". ")[0].rstrip(".")


def _rename(graph: onnx.GraphProto, prefix: str, names: dict[str, str]) -> None:
    """Name everything by its place: converters count through all graphs of a process."""

    def new(name: str) -> str:
        return names.setdefault(name, f"{prefix}_{len(names)}") if name else name

    for item in (*graph.input, *graph.initializer):
        item.name = new(item.name)
    for node in graph.node:
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
        node.name = new(f"node {node.name}")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, prefix, names)
    for item in graph.output:
        item.name = new(item.name)
    del graph.value_info[:]


def _without_converter(step: Any, path: Path) -> tuple[Any, Path]:
    """Return the part of a step that has no converter, with its path; the step if all have one."""
    for name, part in sorted(step.get_params().items()):
        if isinstance(part, BaseEstimator) and not onnx_converters.has_converter(part):
            return part, (*path, *name.split("__"))
    return step, path


def _named(
    names: Iterable[str], columns: Mapping[str, _Value], step: Any, path: Path
) -> dict[str, _Value]:
    if lacking := [name for name in names if name not in columns]:
        raise _refused(
            step,
            path,
            f"the request has no number, boolean or string {', '.join(lacking)}",
            "Fit it to columns of the request alone.",
        )
    return {name: columns[name] for name in names}


def _refused(step: Any, path: Path, problem: str, remedy: str = "") -> ExportError:
    if onnx_converters.lacks_extra(step):
        remedy = "Install the extra boosting, which has its converter."
    where = f"The step {'.'.join(path)} ({type(step).__name__})" if path else type(step).__name__
    return ExportError(f"{where} cannot be exported to ONNX: {problem}. {remedy or _REMEDY}")


_REMEDY = (
    "Replace it by an estimator of https://onnx.ai/sklearn-onnx/supported.html, or compose its "
    "graph in the model's export."
)
