"""Write a bundle's ONNX graph as an MLflow model.

``mlflow.onnx.load_model("models:/NAME@champion")`` and ``mlflow models serve`` take it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mlflow.types import TensorSpec

_DTYPES = {"FLOAT": "float32", "DOUBLE": "float64", "INT64": "int64", "BOOL": "bool"}
_DTYPES |= {"UINT8": "uint8", "STRING": "str"}


def files(graph: Path, request: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of an MLflow model by name; the graph is ``model.onnx``.

    Parameters
    ----------
    graph
        The ONNX file of a bundle.
    request
        One request as in JSON, for the input example. Models of images have no example.
    """
    import mlflow.onnx
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    loaded = onnx.load(graph)
    inputs = [_spec(value) for value in loaded.graph.input]
    outputs = [_spec(value) for value in loaded.graph.output]
    has_example = all(spec.type != np.uint8 for spec in inputs)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "model"
        mlflow.onnx.save_model(
            loaded,
            target,
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example={spec.name: _column(spec, request) for spec in inputs}
            if has_example
            else None,
            # otherwise MLflow runs the model to find its imports
            pip_requirements=[f"{name}=={version(name)}" for name in ("onnx", "onnxruntime")],
            onnx_execution_providers=["CPUExecutionProvider"],
            save_as_external_data=False,
        )
        saved = {file.name: file.read_bytes() for file in target.iterdir()}
    return saved | {"model.onnx": graph.read_bytes()}


def _spec(value: Any) -> TensorSpec:
    import onnx
    from mlflow.types import TensorSpec

    kind = value.type.tensor_type
    dtype = _DTYPES[onnx.TensorProto.DataType.Name(kind.elem_type)]
    sizes = (size.dim_value or -1 for size in list(kind.shape.dim)[1:])
    return TensorSpec(np.dtype(dtype), (-1, *sizes), value.name)


def _column(spec: TensorSpec, request: Mapping[str, Any]) -> npt.NDArray[Any]:
    missing = "" if spec.type.kind == "U" else math.nan
    value = request.get(spec.name)
    return np.array([missing if value is None else value], spec.type)
