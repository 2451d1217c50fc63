"""The pieces of which a graph is composed."""

from pydantic import create_model

from roadworthy.bundles.scoring import Scorer
from roadworthy.models.onnx_graph import Graph


def test_a_column_may_have_any_name_in_small_letters():
    graph = Graph()
    doubled = graph.add("Add", "constant_0", graph.constant(1.0))
    graph.add("Mul", doubled, "add_0", output="mul_1")
    request = create_model("Request", constant_0=(float, ...), add_0=(float, ...))
    model = graph.model("odd", request, create_model("Answer", mul_1=(float, ...)))

    found = Scorer(model.SerializeToString()).score({"constant_0": [2.0], "add_0": [5.0]})

    assert found["mul_1"].tolist() == [15.0]
