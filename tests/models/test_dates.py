"""Dates as features: the calendar's, and the same in scikit-learn and in ONNX."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from roadworthy.bundles.scoring import Scorer
from roadworthy.models.dates import DAYS_OF_YEAR, Dates
from roadworthy.models.onnx_graph import Graph


class Request(BaseModel):
    built: str
    sold: str = ""


class Answer(BaseModel):
    features: list[float]


def frame(*rows):
    return pd.DataFrame(rows, columns=list(Request.model_fields), dtype=object)


@given(st.dates(min_value=date(1000, 1, 1)))
def test_the_features_are_the_calendars(day):
    found = Dates().fit(frame(("1970-01-01", ""))).transform(frame((day.isoformat(), "")))[0, ::2]

    days = (day - date(1970, 1, 1)).days
    year, week = (2 * np.pi * (days / length % 1) for length in (DAYS_OF_YEAR, 7))
    expected = [days / DAYS_OF_YEAR, np.sin(year), np.cos(year), np.sin(week), np.cos(week)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_graph_answers_as_the_step_does_and_a_missing_date_has_the_mean():
    rows = frame(
        ("2024-02-29", "1999-12-31"), ("1969-07-20", ""), ("", "2000-01-01"), ("2100-03-01", "")
    )
    step = Dates().fit(rows)
    graph = Graph()
    columns = [graph.add("Unsqueeze", name, graph.integers(1)) for name in rows]
    value = step.add_to(graph, graph.add("Concat", *columns, axis=1))
    graph.add("Identity", value, output="features")
    scorer = Scorer(graph.model("dates", Request, Answer).SerializeToString())

    expected = step.transform(rows)

    found = scorer.score({name: rows[name].to_numpy() for name in rows})["features"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(expected[2, ::2], expected[[0, 1, 3], ::2].mean(axis=0))
