"""The ONNX graph answers as the estimator does, whatever is left out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import SplineTransformer

from roadworthy.bundles.scoring import Scorer
from roadworthy.models import fuel
from roadworthy.models.contract import ExportError
from roadworthy.models.fuel.estimator import ANSWER, CarFeatures, FuelEstimator
from roadworthy.models.fuel.table import COLUMNS, OPTIONAL_NUMBERS

NAMES = [candidate.name for candidate in fuel.candidates]
OPTIONAL = (*OPTIONAL_NUMBERS, "origin")


@pytest.fixture(scope="session")
def scorers(fitted):
    return {
        name: Scorer(fuel.export(estimator).SerializeToString())
        for name, estimator in fitted.items()
    }


def agree(estimator, scorer, rows):
    expected = estimator.predict(rows)
    found = scorer.score({name: rows[name].to_numpy() for name in COLUMNS})
    for name in ANSWER:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


def leave_out(rows, names):
    return rows.assign(**{name: "" if name == "origin" else np.nan for name in names})


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_agrees_on_the_whole_test_set(fitted, scorers, halves, name):
    agree(fitted[name], scorers[name], halves.test[list(COLUMNS)])


@pytest.mark.parametrize("name", NAMES)
@given(
    masks=st.lists(
        st.lists(st.booleans(), min_size=len(OPTIONAL), max_size=len(OPTIONAL)),
        min_size=1,
        max_size=30,
    )
)
def test_the_graph_agrees_when_every_row_leaves_out_something_else(
    fitted, scorers, halves, name, masks
):
    rows = pd.concat(
        [
            leave_out(
                halves.test[list(COLUMNS)].iloc[[number]],
                [field for field, absent in zip(OPTIONAL, mask, strict=True) if absent],
            )
            for number, mask in enumerate(masks)
        ]
    )

    agree(fitted[name], scorers[name], rows)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_outputs_are_the_fields_of_request_and_answer(scorers, name):
    assert tuple(scorers[name].inputs) == tuple(fuel.Request.model_fields)
    assert tuple(scorers[name].outputs) == tuple(fuel.Answer.model_fields)


@pytest.mark.parametrize("candidate", fuel.candidates, ids=NAMES)
def test_equal_estimators_give_the_same_graph_byte_for_byte(fitted, halves, candidate):
    again = fuel.train(candidate, halves.train)

    one, other = (
        fuel.export(found).SerializeToString() for found in (fitted[candidate.name], again)
    )

    assert one == other


def test_a_step_without_a_converter_is_refused_with_its_name(halves):
    steps = [("features", CarFeatures(COLUMNS)), ("spline", SplineTransformer()), ("last", Ridge())]
    estimator = FuelEstimator(Pipeline(steps)).fit(halves.train[list(COLUMNS)], halves.train["mpg"])

    with pytest.raises(ExportError, match=r"The step spline \(SplineTransformer\) cannot"):
        fuel.export(estimator)
