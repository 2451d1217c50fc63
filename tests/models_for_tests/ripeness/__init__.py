"""Whether a fruit is ripe: a label, a number that may be zero or negative, and a boolean.

Every field of its request may be left out.
"""

from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
import tiny
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from sklearn.base import BaseEstimator

from roadworthy.models import splits
from roadworthy.models.agreement import Tolerance
from roadworthy.models.contract import Bound, Candidate, Prepared, Resources
from roadworthy.models.fields import missing_number, missing_string, number, unchanged
from roadworthy.models.onnx_graph import Graph

name = "ripeness"
title = "Ripeness of a fruit"
task = "classification"
data = "data/ripeness.csv.dvc"
key = ("fruit",)
resources = {"train": Resources(cpu="1", memory="1Gi", retries=1)}
tolerance = {"margin": Tolerance(relative=1e-6, absolute=1e-9)}
schema = pa.DataFrameSchema(
    {
        "fruit": pa.Column(int, unique=True, description="Its number."),
        "hue": pa.Column(float, pa.Check.in_range(0, 10), nullable=True, description="Hue, steps."),
        "firm": pa.Column(bool, description="Whether it is firm."),
        "variety": pa.Column(str, pa.Check.isin(["plum", "pear"]), description="What it is."),
        "label": pa.Column(str, pa.Check.isin(["ripe", "unripe"]), description="What it was."),
    },
    strict=True,
    coerce=True,
)
criteria = tiny.criteria("accuracy", 0.8, error="error")
INPUTS = ["hue", "firm", "variety"]
_GROWS = Bound("unripe_with_more_hue", "at most", 0, description="share of fruits")


class Request(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"hue": 6, "firm": True, "variety": "plum"}}
    )

    hue: Annotated[float, number(0, 10, "steps", "Hue.")] = Field(default_factory=missing_number)
    firm: Annotated[bool, Field(description="Whether it is firm."), PlainSerializer(unchanged)] = (
        Field(default_factory=missing_number)
    )
    variety: Annotated[Literal["plum", "pear"], Field(description="What it is.")] = Field(
        default_factory=missing_string
    )


class Answer(BaseModel):
    label: Annotated[Literal["ripe", "unripe"], Field(description="Whether it is ripe.")]
    margin: Annotated[float, number(None, None, "steps", "How far it is from the threshold.")]
    certain: Annotated[bool, Field(description="Whether it is far from the threshold.")]


def generate(path, rows=200, seed=3):
    """Write raw data."""
    rng = np.random.default_rng(seed)
    hue = rng.integers(0, 11, rows).astype(float)
    firm, variety = rng.random(rows) < 0.5, rng.choice(["plum", "pear"], rows)
    ripe = hue - firm - (variety == "pear") + rng.normal(0, 0.7, rows) >= 5
    hue[rng.random(rows) < 0.05] = np.nan
    label = np.where(ripe, "ripe", "unripe")
    columns = {"fruit": range(rows), "hue": hue, "firm": firm, "variety": variety, "label": label}
    pd.DataFrame(columns).to_csv(path, index=False)


def prepare(raw):
    typed = raw.drop(columns="fruit").assign(firm=raw["firm"].astype(float))
    return Prepared(typed, {})


def split(frame):
    return splits.seeded(frame, share=0.2, seed=1)


class Threshold(BaseEstimator):
    def __init__(self, shift):
        self.shift = shift

    def fit(self, frame):
        self.hue_ = float(round(frame["hue"].mean()))
        self.threshold_ = 0.0
        ripe = (frame["label"] == "ripe").to_numpy()
        margins = self._margin(frame)
        self.threshold_ = float(max(range(11), key=lambda at: ((margins >= at) == ripe).mean()))
        return self

    def predict(self, frame):
        margin = self._margin(frame)
        label = np.where(margin >= 0, "ripe", "unripe").astype(object)
        columns = {"label": label, "margin": margin, "certain": np.abs(margin) >= 2}
        return pd.DataFrame(columns, index=frame.index)

    def _margin(self, frame):
        hue, firm = (frame[column].to_numpy(np.float64) for column in ("hue", "firm"))
        pear = (frame["variety"] == "pear").to_numpy(np.float64)
        less = self.shift * (np.nan_to_num(firm) + pear)
        return np.where(np.isnan(hue), self.hue_, hue) - less - self.threshold_


candidates = (
    Candidate("hue", Threshold(0.0), {"shift": 0.0}, "the hue alone"),
    Candidate("everything", Threshold(1.0), {"shift": 1.0}, "hue, firmness and variety"),
)


train, cross_validate = tiny.train, tiny.cross_validate


def export(estimator):
    graph = Graph()
    zero, one = graph.constant(0.0), graph.constant(1.0)
    hue = graph.add("Where", graph.add("IsNaN", "hue"), graph.constant(estimator.hue_), "hue")
    firm = graph.add("Where", graph.add("IsNaN", "firm"), zero, "firm")
    pear = graph.add("Where", graph.add("Equal", "variety", graph.strings("pear")), one, zero)
    both = graph.add("Add", firm, pear)
    less = graph.add("Mul", both, graph.constant(estimator.shift))
    moved = graph.add("Sub", hue, less)
    graph.add("Sub", moved, graph.constant(estimator.threshold_), output="margin")
    ripe = graph.add("GreaterOrEqual", "margin", zero)
    graph.add("Where", ripe, graph.strings("ripe"), graph.strings("unripe"), output="label")
    far = graph.add("Abs", "margin")
    graph.add("GreaterOrEqual", far, graph.constant(2.0), output="certain")
    return graph.model(name, Request, Answer)


score = tiny.accuracy_by("variety")


def behaviour(answer, rows):
    known = rows[rows["hue"] <= 8]
    now = answer(known[INPUTS])["margin"].to_numpy()
    more = answer(known[INPUTS].assign(hue=known["hue"] + 2))["margin"].to_numpy()
    return (_GROWS.check(float((more < now).mean())),)


evaluate = tiny.evaluation(score, behaviour, INPUTS)


def page(frame):
    from roadworthy.models.page import Page

    return Page([{"hue": 6, "firm": True}, {}])
