"""Spikes in a window of free length: the answer is a list as long as the request's."""

from typing import Annotated

import numpy as np
import pandas as pd
import pandera.pandas as pa
import tiny
from pydantic import BaseModel, ConfigDict
from sklearn.base import BaseEstimator

from roadworthy.models import splits
from roadworthy.models.agreement import Tolerance
from roadworthy.models.contract import Bound, Candidate, Prepared, Scores, Validation
from roadworthy.models.datasets import TableDataset
from roadworthy.models.fields import number, numbers
from roadworthy.models.onnx_graph import Graph

name = "spikes"
title = "Spikes in a series"
task = "anomaly"
data = "data/spikes.jsonl.dvc"
# A score is a difference from a mean: where it is zero, rounding alone is left.
tolerance = {"scores": Tolerance(relative=1e-5, absolute=1e-9)}
_LISTS = pa.Check(lambda cell: len(cell) >= 4, element_wise=True, error="a list of 4 or more")
schema = pa.DataFrameSchema(
    {
        "time": pa.Column(int, description="When the window ended, hours."),
        "window": pa.Column(object, _LISTS, description="Levels, mm."),
        "truth": pa.Column(object, _LISTS, description="Which of them are spikes."),
    },
    strict=True,
)
criteria = tiny.criteria(
    "recall", 0.7, error="missed", hold_out=(Bound("false_alarms", "at most", 0.05),)
)
_STILL = Bound("spikes_where_nothing_moves", "at most", 0)


class Request(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"window": [5, 5, 40, 6, 4]}}
    )

    window: Annotated[list[float], numbers(4, 500, "mm", "The latest levels.")]


class Answer(BaseModel):
    scores: Annotated[list[float], numbers(4, 500, "deviations", "How far each is from normal.")]
    bounds: Annotated[list[float], numbers(4, 500, "deviations", "The highest score of no spike.")]
    spikes: Annotated[list[bool], numbers(4, 500, "spike", "Which of them are spikes.")]
    count: Annotated[int, number(0, 500, "spikes", "How many there are.")]


def generate(path, rows=120, seed=5):
    """Write raw data: one window a line, of unequal lengths, some of which stand still."""
    rng = np.random.default_rng(seed)
    lines = []
    for time in range(rows):
        length = int(rng.integers(4, 30))
        window = np.full(length, 5.0) if time % 10 == 0 else rng.normal(5, 1, length).round(3)
        truth = np.zeros(length, bool)
        if time % 3 == 1:
            truth[rng.integers(length)] = True
        window[truth] += 40
        lines.append({"time": time, "window": window.tolist(), "truth": truth.tolist()})
    pd.DataFrame(lines).to_json(path, orient="records", lines=True)


def read(path):
    return pd.read_json(path, lines=True)


dataset = TableDataset(read)


def prepare(raw):
    windows = [np.array(one, np.float64) for one in raw["window"]]
    truths = [np.array(one, bool) for one in raw["truth"]]
    return Prepared(pd.DataFrame({"time": raw["time"], "window": windows, "truth": truths}), {})


def split(frame):
    return splits.by_time(frame, frame["time"], share=0.25)


class Deviations(BaseEstimator):
    def __init__(self, limit):
        self.limit = limit

    def fit(self, frame):
        calm = [
            window - window.mean()
            for window, truth in zip(frame["window"], frame["truth"], strict=True)
            if not truth.any()
        ]
        self.scale_ = float(np.concatenate(calm).std())
        return self

    def predict(self, frame):
        scores = [(window - window.mean()) / self.scale_ for window in frame["window"]]
        spikes = [one > self.limit for one in scores]
        counts = [float(one.sum()) for one in spikes]
        bounds = [np.full(len(one), self.limit) for one in scores]
        columns = {"scores": scores, "bounds": bounds, "spikes": spikes, "count": counts}
        return pd.DataFrame(columns, frame.index)


candidates = (
    Candidate("wide", Deviations(6.0), {"limit": 6.0}, "six deviations"),
    Candidate("narrow", Deviations(4.0), {"limit": 4.0}, "four deviations"),
)


train = tiny.train


def cross_validate(candidate, frame):
    found = []
    for fitted_on, tested_on in splits.walk_forward(frame["time"], folds=4):
        unseen = frame.iloc[tested_on]
        answers = train(candidate, frame.iloc[fitted_on]).predict(unseen)
        found.append(score(answers, unseen).metrics["recall"])
    return Validation({"cv_recall": float(np.mean(found))}, ())


def export(estimator):
    graph = Graph()
    mean = graph.add("ReduceMean", "window", graph.integers(1), keepdims=1)
    apart = graph.add("Sub", "window", mean)
    graph.add("Div", apart, graph.constant(estimator.scale_), output="scores")
    none = graph.add("Mul", "scores", graph.constant(0.0))
    graph.add("Add", none, graph.constant(estimator.limit), output="bounds")
    graph.add("Greater", "scores", "bounds", output="spikes")
    whole = graph.add("Cast", "spikes", to=11)  # double
    graph.add("ReduceSum", whole, graph.integers(1), keepdims=0, output="count")
    return graph.model(name, Request, Answer)


def score(answers, test):
    found, truth = (
        np.concatenate(list(one)).astype(bool) for one in (answers["spikes"], test["truth"])
    )
    recall = float(found[truth].mean()) if truth.any() else 1.0
    metrics = {"recall": recall, "missed": 1 - recall, "false_alarms": float(found[~truth].mean())}
    return Scores(metrics, {})


def behaviour(answer, rows):
    still = pd.DataFrame({"window": [np.full(length, 7.0) for length in (4, 9)]})
    return (_STILL.check(float(answer(still)["count"].sum())),)


evaluate = tiny.evaluation(score, behaviour, ["window"])


def page(frame):
    from roadworthy.models.page import Page, Series

    truth = [[False, False, True, False, False]]
    figure = Series("window", "spikes", "scores", "bounds", truth)
    return Page([{"window": [5, 5, 40, 6, 4]}], figure)
