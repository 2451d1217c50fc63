"""Answers from a graph, column by column."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from roadworthy.bundles.scoring import Scorer

numbers = st.floats(-1e6, 1e6)


def _column(name, element_type):
    return helper.make_tensor_value_info(name, element_type, ["N"])


@pytest.fixture(scope="module")
def scorer():
    """A graph that doubles a number, adds one to another and hands on a word and a count."""
    nodes = [
        helper.make_node("Add", ["size", "size"], ["twice"]),
        helper.make_node("IsNaN", ["size"], ["absent"]),
        helper.make_node("Cast", ["absent"], ["left_out"], to=TensorProto.DOUBLE),
        helper.make_node("Identity", ["colour"], ["paint"]),
        helper.make_node("Identity", ["count"], ["number"]),
        helper.make_node("Identity", ["share"], ["part"]),
    ]
    inputs = [
        _column("size", TensorProto.DOUBLE),
        _column("colour", TensorProto.STRING),
        _column("count", TensorProto.INT64),
        _column("share", TensorProto.FLOAT),
    ]
    outputs = [
        _column("twice", TensorProto.DOUBLE),
        _column("left_out", TensorProto.DOUBLE),
        _column("paint", TensorProto.STRING),
        _column("number", TensorProto.INT64),
        _column("part", TensorProto.FLOAT),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "test", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    return Scorer(model.SerializeToString())


def test_inputs_and_outputs_are_told_in_the_order_of_the_graph(scorer):
    assert list(scorer.inputs.items()) == [
        ("size", np.float64),
        ("colour", object),
        ("count", np.int64),
        ("share", np.float32),
    ]
    assert scorer.outputs == ["twice", "left_out", "paint", "number", "part"]


@given(st.lists(st.tuples(numbers, st.text(max_size=5), st.integers(0, 9)), max_size=20))
def test_columns_become_answers(scorer, rows):
    sizes, colours, counts = ([row[at] for row in rows] for at in range(3))
    colours = np.array([colour.replace("\0", "") for colour in colours], object)
    columns = {"size": sizes, "colour": colours, "count": counts, "share": [0.5] * len(rows)}

    answers = scorer.score(columns)

    assert answers["twice"].tolist() == [2 * size for size in sizes]
    assert answers["paint"].tolist() == colours.tolist()
    assert answers["number"].tolist() == counts
    assert answers["part"].tolist() == columns["share"]


def test_columns_of_other_types_are_turned_into_those_of_the_graph(scorer):
    answers = scorer.score(
        {"size": [1, 2], "colour": ["a", "b"], "count": [1.0, 2.0], "share": [0, 1]}
    )

    assert answers["twice"].tolist() == [2.0, 4.0]
    assert answers["number"].tolist() == [1, 2]


def test_a_missing_column_is_named(scorer):
    with pytest.raises(KeyError, match="colour"):
        scorer.score({"size": [1.0], "count": [1]})


def test_what_is_no_graph_is_not_loaded():
    with pytest.raises(Exception, match=r"(?i)protobuf|model|parse"):
        Scorer(b"no graph")
