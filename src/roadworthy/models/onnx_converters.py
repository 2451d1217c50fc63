"""The converters that skl2onnx lacks: HistGradientBoosting, XGBoost and LightGBM.

They are registered with skl2onnx, so that these estimators may also be part of a stack. There they
get doubles, as other steps do; what ONNX Runtime computes in float32 only rounds its own input.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from skl2onnx import update_registered_converter
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common._registration import get_converter, register_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.common.tree_ensemble import (
    add_tree_to_attribute_pairs_hist_gradient_boosting,
    get_default_tree_regressor_attribute_pairs,
)
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from roadworthy.models.contract import ExportError

_TREES = ("DecisionTree", "ExtraTree", "ExtraTrees", "GradientBoosting", "RandomForest")
_IN_FLOAT32 = (
    *(f"Sklearn{kind}{task}" for kind in _TREES for task in ("Classifier", "Regressor")),
    "SklearnSVC",
    "SklearnSVR",
)
"""The converters of skl2onnx whose operators ONNX Runtime has in float32 only."""
_REGRESSOR: dict[str, list[Any]] = {"split": [None, 100]}
_CLASSIFIER: dict[str, list[Any]] = {"zipmap": [True, False, "columns"], "nocl": [True, False]}


def register() -> None:
    """Register the converters, those of XGBoost and LightGBM where the library is in use.

    Without onnxmltools these two have none.
    """
    for alias in _IN_FLOAT32:
        converter = get_converter(alias)
        if not isinstance(converter._fct, _Rounding):
            rounding = _Rounding(alias, converter)
            register_converter(
                alias, rounding, overwrite=True, options=converter.get_allowed_options()
            )
    _register(HistGradientBoostingRegressor, _convert_trees)
    _register(HistGradientBoostingClassifier, _convert_trees)
    if find_spec("onnxmltools") is None:
        return
    if xgboost := sys.modules.get("xgboost"):
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

        for name in ("XGBRegressor", "XGBClassifier", "XGBRFRegressor", "XGBRFClassifier"):
            _register(getattr(xgboost, name), convert_xgboost, in_float32=True)
    if lightgbm := sys.modules.get("lightgbm"):
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        for name in ("LGBMRegressor", "LGBMClassifier"):
            _register(getattr(lightgbm, name), convert_lightgbm, in_float32=True)


def lacks_extra(step: Any) -> bool:
    """Return whether an estimator's converter is in onnxmltools, which is not installed."""
    library = type(step).__module__.partition(".")[0]
    return library in ("xgboost", "lightgbm") and find_spec("onnxmltools") is None


def has_converter(step: Any) -> bool:
    """Return whether an estimator has a converter."""
    return type(step) in sklearn_operator_name_map


def _register(model: Any, converter: Any, *, in_float32: bool = False) -> None:
    alias = f"Roadworthy{model.__name__}"
    shapes, options = calculate_linear_regressor_output_shapes, _REGRESSOR
    if issubclass(model, ClassifierMixin):
        shapes, options = calculate_linear_classifier_output_shapes, _CLASSIFIER
    converter = _Rounding(alias, converter) if in_float32 else converter
    update_registered_converter(model, alias, shapes, converter, options=options)


class _Rounding:
    """A converter that takes doubles, rounds them, and gives the answers in float32 as doubles.

    Parameters
    ----------
    alias
        The name under which it is registered.
    converter
        The one that takes float32 only.
    """

    def __init__(self, alias: str, converter: Any) -> None:
        self._alias = alias
        self._converter = converter

    def __call__(self, scope: Any, operator: Any, container: Any) -> None:
        """Convert an operator of skl2onnx."""
        (given,) = operator.inputs
        if not isinstance(given.type, DoubleTensorType):
            self._converter(scope, operator, container)
            return

        def cast(source: Any, target: Any, element: int) -> None:
            name = scope.get_unique_operator_name("Cast")
            container.add_node("Cast", [source.full_name], target.full_name, name=name, to=element)

        inner = scope.declare_local_operator(self._alias, operator.raw_operator)
        rounded = scope.declare_local_variable("rounded", FloatTensorType(given.type.shape))
        cast(given, rounded, TensorProto.FLOAT)
        inner.inputs.append(rounded)
        for output in operator.outputs:
            is_double = isinstance(output.type, DoubleTensorType)
            kind = FloatTensorType(output.type.shape) if is_double else output.type
            found = scope.declare_local_variable("found", kind)
            inner.outputs.append(found)
            if is_double:
                cast(found, output, TensorProto.DOUBLE)
            else:
                name = scope.get_unique_operator_name("Identity")
                container.add_node("Identity", [found.full_name], output.full_name, name=name)


def _convert_trees(scope: Any, operator: Any, container: Any) -> None:
    """Convert a HistGradientBoosting estimator.

    Its thresholds are compared in double precision, as scikit-learn does. The sum of the leaves is
    rounded to float32 by ONNX Runtime.
    """
    estimator = operator.raw_operator
    if estimator.is_categorical_ is not None:
        raise ExportError(
            "its categorical_features cannot be exported; encode them in a step before it, for "
            "example with an OrdinalEncoder, and set categorical_features=None"
        )

    def add(kind: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        output = output or scope.get_unique_variable_name(kind)
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, list(inputs), output, op_domain=domain, name=name, **attributes)
        return output

    def constant(values: Any, dtype: int, *shape: int) -> str:
        name: str = scope.get_unique_variable_name("constant")
        container.add_initializer(name, dtype, shape, values)
        return name

    number = operator.inputs[0].type
    element = TensorProto.DOUBLE if isinstance(number, DoubleTensorType) else TensorProto.FLOAT
    double = add("Cast", operator.inputs[0].full_name, to=TensorProto.DOUBLE)
    raw = add("TreeEnsembleRegressor", double, domain="ai.onnx.ml", **_attributes(estimator))
    raw = add("Cast", raw, to=TensorProto.DOUBLE)
    if not is_classifier(estimator):
        link = type(estimator._loss.link).__name__
        answer = raw if link == "IdentityLink" else add("Exp", raw)
        add("Cast", answer, to=element, output=operator.outputs[0].full_name)
        return
    if estimator.n_trees_per_iteration_ == 1:
        positive = add("Sigmoid", raw)
        negative = add("Sub", constant([1.0], TensorProto.DOUBLE, 1), positive)
        both = add("Concat", negative, positive, axis=1)
    else:
        both = add("Softmax", raw, axis=1)
    add("Cast", both, to=element, output=operator.outputs[1].full_name)
    strings = isinstance(operator.outputs[0].type, StringTensorType)
    dtype = TensorProto.STRING if strings else TensorProto.INT64
    known = [str(name).encode() if strings else int(name) for name in estimator.classes_]
    classes = constant(known, dtype, len(known))
    most = add("ArgMax", both, axis=1, keepdims=0)
    add("Gather", classes, most, output=operator.outputs[0].full_name)


def _attributes(estimator: Any) -> dict[str, Any]:
    """Return the attributes of a TreeEnsembleRegressor in double precision."""
    targets = estimator.n_trees_per_iteration_
    found: dict[str, Any] = get_default_tree_regressor_attribute_pairs()
    for iteration, trees in enumerate(estimator._predictors):
        for target, tree in enumerate(trees):
            add_tree_to_attribute_pairs_hist_gradient_boosting(
                found, False, tree, iteration * targets + target, 1.0, target, False
            )
    found |= {"n_targets": targets, "base_values": estimator._baseline_prediction}
    del found["nodes_hitrates"]
    for name in ("nodes_values", "target_weights", "base_values"):
        numbers = np.asarray(found.pop(name), dtype=np.float64).ravel()
        found[f"{name}_as_tensor"] = numpy_helper.from_array(numbers, f"{name}_as_tensor")
    integers = ("nodes_featureids", "nodes_missing_value_tracks_true")
    return found | {name: [int(value) for value in found[name]] for name in integers}
