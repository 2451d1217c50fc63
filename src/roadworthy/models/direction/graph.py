"""The ONNX graph of an estimator."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from roadworthy.models.direction.estimator import THRESHOLD, DirectionEstimator
from roadworthy.models.direction.features import add_features
from roadworthy.models.direction.request import Answer, Request
from roadworthy.models.onnx_graph import TREES, Graph, add_step


def export(estimator: DirectionEstimator) -> onnx.ModelProto:
    """Return the fitted estimator as an ONNX model, from the last closes to the answer.

    Raises
    ------
    TypeError
        The estimator has a step for which there is no graph.
    """
    graph = Graph()
    value = add_features(graph, "last_closes")
    fitted = estimator.classifier_
    if isinstance(fitted, RandomForestClassifier):
        up = _forest(graph, fitted, value)
    else:
        for step in [one for _, one in fitted.steps] if isinstance(fitted, Pipeline) else [fitted]:
            value = add_step(graph, step, value)
        up = graph.add("Gather", value, graph.integers(1), axis=1)
    graph.add("Reshape", up, graph.integers(-1), output="probability_up")
    is_up = graph.add("Greater", "probability_up", graph.constant(THRESHOLD))
    graph.add("Where", is_up, graph.strings("UP"), graph.strings("DOWN"), output="next_close")
    return graph.model("direction", Request, Answer)


def _forest(graph: Graph, forest: RandomForestClassifier, value: str) -> str:
    """Add the mean of the trees' shares of UP, as :meth:`RandomForestClassifier.predict_proba`."""
    trees = [tree.tree_ for tree in forest.estimators_]
    sizes = [tree.node_count for tree in trees]
    nodes = np.concatenate([np.arange(size) for size in sizes])
    owners = np.repeat(np.arange(len(trees)), sizes)
    left, right, feature, threshold = (
        np.concatenate([getattr(tree, part) for tree in trees])
        for part in ("children_left", "children_right", "feature", "threshold")
    )
    leaf = left < 0
    # The features are compared as float32, as scikit-learn does: the greatest float32 that is not
    # above the threshold parts them as the threshold does.
    limit = threshold.astype(np.float32)
    limit = np.where(limit > threshold, np.nextafter(limit, np.float32(-np.inf)), limit)
    shares = np.concatenate([tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1) for tree in trees])
    found = graph.add(
        "TreeEnsembleRegressor",
        graph.add("Cast", value, to=TensorProto.FLOAT),
        domain=TREES,
        n_targets=1,
        nodes_treeids=owners.tolist(),
        nodes_nodeids=nodes.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=np.where(leaf, 0, feature).tolist(),
        nodes_values=np.where(leaf, 0, limit).tolist(),
        nodes_truenodeids=np.where(leaf, 0, left).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, right).tolist(),
        target_treeids=owners[leaf].tolist(),
        target_nodeids=nodes[leaf].tolist(),
        target_ids=[0] * int(leaf.sum()),
        target_weights=(shares[leaf] / len(trees)).tolist(),
    )
    return graph.add("Cast", found, to=TensorProto.DOUBLE)
