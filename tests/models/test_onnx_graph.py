"""The pieces of a graph answer as the fitted steps that they stand for."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

from roadworthy.bundles.scoring import Scorer
from roadworthy.models.onnx_graph import Graph, add_columns, add_step

numbers = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))
words = st.sampled_from(["", "wood", "steel", "a word that is new"])


@pytest.fixture(scope="module")
def transformer():
    frame = pd.DataFrame(
        {
            "beam": [1.0, np.nan, 3.0],
            "never": [np.nan] * 3,
            "hull": ["wood", "steel", "wood"],
        }
    )
    imputer = SimpleImputer(strategy="mean", keep_empty_features=True)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", imputer, ["beam", "never"]),
            ("words", encoder, ["hull"]),
            ("none", imputer, []),
        ]
    ).fit(frame)


@given(rows=st.lists(st.tuples(numbers, numbers, words), min_size=1, max_size=9))
def test_columns_are_imputed_and_encoded_as_the_transformer_does(transformer, rows):
    # given a graph of the transformer that adds up what it gives
    graph = Graph()
    total = graph.add("ReduceSum", add_columns(graph, transformer), graph.integers(1), keepdims=0)
    weighted = graph.add("Mul", total, graph.constant(2.0), output="sum")
    model = graph.model(
        "sums",
        create_model("Request", beam=(float, 0.0), never=(float, 0.0), hull=(str, "")),
        create_model("Answer", **{weighted: (float, ...)}),
    )
    frame = pd.DataFrame(rows, columns=["beam", "never", "hull"])

    # when both get the same rows, then they agree
    found = Scorer(model.SerializeToString()).score({name: frame[name] for name in frame})
    np.testing.assert_allclose(found["sum"], 2 * transformer.transform(frame).sum(axis=1))


def test_a_column_may_have_any_name_in_small_letters():
    graph = Graph()
    doubled = graph.add("Add", "constant_0", graph.constant(1.0))
    graph.add("Mul", doubled, "add_0", output="mul_1")
    request = create_model("Request", constant_0=(float, ...), add_0=(float, ...))
    model = graph.model("odd", request, create_model("Answer", mul_1=(float, ...)))

    found = Scorer(model.SerializeToString()).score({"constant_0": [2.0], "add_0": [5.0]})

    assert found["mul_1"].tolist() == [15.0]


def test_what_has_no_graph_is_refused_with_what_to_do():
    fitted = ColumnTransformer([("scaled", MinMaxScaler(), ["beam"])]).fit(
        pd.DataFrame({"beam": [1.0, 2.0]})
    )

    with pytest.raises(TypeError, match=r"MinMaxScaler cannot be exported: give it a graph in"):
        add_columns(Graph(), fitted)
    with pytest.raises(TypeError, match="or train another candidate"):
        add_step(Graph(), MinMaxScaler(), "value")
