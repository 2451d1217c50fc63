"""What is drawn on a grey picture of 16 x 16 pixels, by several people: no person on both sides."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
import tiny
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import BaseEstimator

from roadworthy.models import splits
from roadworthy.models.agreement import Tolerance
from roadworthy.models.contract import Bound, Candidate, Prepared, Resources
from roadworthy.models.datasets import ArrayDataset
from roadworthy.models.fields import image, numbers
from roadworthy.models.onnx_graph import Graph

name = "shapes"
title = "Shape on a picture"
task = "classification"
data = "data/shapes.dvc"
resources = {"train": Resources(cpu="2", memory="2Gi")}
# Of a share near zero the difference counts, not the ratio: 0.001 and 0.002 say the same.
tolerance = {"probabilities": Tolerance(relative=1e-5, absolute=1e-5)}
LABELS = ("bar", "box", "cross")
SIZE = 16
schema = pa.DataFrameSchema(
    {
        "picture": pa.Column(
            object,
            pa.Check(lambda cell: cell.shape == (SIZE, SIZE), element_wise=True, error="16_x_16"),
            description="Grey pixels, 0 to 255.",
        ),
        "person": pa.Column(str, description="Who drew it."),
        "label": pa.Column(str, pa.Check.isin(LABELS), description="What it is."),
    },
    strict=True,
)
criteria = tiny.criteria("accuracy", 0.9, error="error")
_DARKER = Bound("changed_when_darker", "at most", 0.1, description="share of pictures")
_EXAMPLE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAG0lEQVR42mMUYWBgYGBgOGEBoRmYGNDAyBIAAC8T"
    "ATRUKsOqAAAAAElFTkSuQmCC"
)


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"picture": _EXAMPLE}})

    picture: Annotated[str, image(SIZE, SIZE, 1, "What was drawn.", max_bytes=20_000)]


class Answer(BaseModel):
    label: Annotated[Literal[LABELS], Field(description="What is drawn.")]
    probabilities: Annotated[list[float], numbers(3, 3, "share", f"Of {', '.join(LABELS)}.")]


def generate(directory, rows=120, seed=7):
    """Write raw data: a directory with the pixels of all pictures and a table of what they are."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 40, (rows, SIZE, SIZE))
    labels = rng.choice(LABELS, rows)
    for picture, label in zip(pictures, labels, strict=True):
        at = int(rng.integers(7, 9))
        if label in ("bar", "cross"):
            picture[:, at] = 220
        if label == "cross":
            picture[at, :] = 220
        if label == "box":
            picture[3:13, [3, 12]] = picture[[3, 12], 3:13] = 220
    Path(directory).mkdir(parents=True)
    np.save(directory / "pictures.npy", pictures.astype(np.uint8))
    people = [f"person {number % 12}" for number in range(rows)]
    pd.DataFrame({"person": people, "label": labels}).to_csv(directory / "drawn.csv", index=False)


def read(directory):
    return pd.read_csv(directory / "drawn.csv").assign(
        picture=list(np.load(directory / "pictures.npy"))
    )[["picture", "person", "label"]]


dataset = ArrayDataset(read, arrays=("picture",))


def prepare(raw):
    return Prepared(raw, {})


def split(frame):
    return splits.by_subject(frame, frame["person"], one_in=4, seed=2)


class NearestMean(BaseEstimator):
    def __init__(self, sharpness):
        self.sharpness = sharpness

    def fit(self, frame):
        pixels = _pixels(frame)
        self.means_ = np.stack(
            [pixels[(frame["label"] == one).to_numpy()].mean(0) for one in LABELS]
        )
        return self

    def predict(self, frame):
        logits = self.sharpness * (_pixels(frame) @ (2 * self.means_.T) - (self.means_**2).sum(1))
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        label = np.array(LABELS, object)[logits.argmax(1)]
        return pd.DataFrame({"label": label, "probabilities": list(shares)}, frame.index)


candidates = (Candidate("nearest_mean", NearestMean(0.2), {"sharpness": 0.2}, "the nearest mean"),)


train, cross_validate = tiny.train, tiny.cross_validate


def export(estimator):
    graph = Graph()
    numbers_ = graph.add("Cast", "picture", to=11)  # double
    flat = graph.add("Reshape", numbers_, graph.integers(-1, SIZE * SIZE))
    pixels = graph.add("Div", flat, graph.constant(255.0))
    product = graph.add("MatMul", pixels, graph.constant(2 * estimator.means_.T))
    distance = graph.add("Sub", product, graph.constant((estimator.means_**2).sum(1)))
    logits = graph.add("Mul", distance, graph.constant(estimator.sharpness))
    graph.add("Softmax", logits, axis=1, output="probabilities")
    best = graph.add("ArgMax", logits, axis=1, keepdims=0)
    graph.add("Gather", graph.strings(LABELS), best, output="label")
    return graph.model(name, Request, Answer)


score = tiny.accuracy_by("label")


def behaviour(answer, rows):
    darker = pd.DataFrame({"picture": [(one * 0.9).astype(np.uint8) for one in rows["picture"]]})
    before, after = answer(rows[["picture"]]), answer(darker)
    changed = (before["label"].to_numpy() != after["label"].to_numpy()).mean()
    return (_DARKER.check(float(changed)),)


evaluate = tiny.evaluation(score, behaviour, ["picture"])


def page(frame):
    from roadworthy.models.page import Page

    return Page([{"picture": _EXAMPLE}])


def _pixels(frame):
    return np.stack(list(frame["picture"])).reshape(len(frame), -1) / 255
