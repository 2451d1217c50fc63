"""The ONNX graph of an estimator."""

from __future__ import annotations

import onnx

from roadworthy.models.direction.estimator import THRESHOLD, DirectionEstimator
from roadworthy.models.direction.features import add_features
from roadworthy.models.direction.request import Answer, Request
from roadworthy.models.onnx_export import add_estimator
from roadworthy.models.onnx_graph import Graph


def export(estimator: DirectionEstimator) -> onnx.ModelProto:
    """Return the fitted estimator as an ONNX model, from the last closes to the answer.

    Raises
    ------
    ExportError
        The estimator has a step for which there is no converter.
    """
    graph = Graph()
    value = add_features(graph, "last_closes")
    probabilities = add_estimator(graph, estimator.classifier_, value)
    up = graph.add("Gather", probabilities, graph.integers(1), axis=1)
    graph.add("Reshape", up, graph.integers(-1), output="probability_up")
    is_up = graph.add("Greater", "probability_up", graph.constant(THRESHOLD))
    graph.add("Where", is_up, graph.strings("UP"), graph.strings("DOWN"), output="next_close")
    return graph.model("direction", Request, Answer)
