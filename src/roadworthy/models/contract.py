"""What a model offers to the pipeline, the gate and the server.

A model is a package ``roadworthy.models.<name>`` with the parts of :class:`Model` as plain
functions and values. There is no base class to inherit.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import onnx
    import pandas as pd
    import pandera.pandas as pa
    from pydantic import BaseModel

    from roadworthy.models.page import Page


class Model(Protocol):
    """The parts of a model package. Frames hold one row per example and keep their index."""

    name: str
    """The model's name: its package, its registered name and its address at the server."""
    data: str
    """The ``.dvc`` file of its raw data, relative to the repository's root."""
    schema: pa.DataFrameSchema
    """The raw data: columns, types and ranges, with the unit in each column's description."""
    Request: type[BaseModel]
    """One prediction request: units, bounds and an example. An optional field that is left
    out is not a number, or an empty word: what frames and ONNX inputs hold."""
    Answer: type[BaseModel]
    """One answer: a number per field, with its unit. The ONNX outputs carry the same names."""
    candidates: Sequence[Candidate]
    """What training tries, the simplest first."""
    criteria: Criteria
    """What the gate demands."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the raw data of a file, untouched."""
        ...

    def prepare(self, raw: pd.DataFrame) -> Prepared:
        """Return clean, typed rows, and how many were dropped for which reason."""
        ...

    def split(self, frame: pd.DataFrame) -> Split:
        """Return the rows to train on and the hold-out, which is never trained on."""
        ...

    def cross_validate(self, candidate: Candidate, train: pd.DataFrame) -> Validation:
        """Return how a candidate does on rows of ``train`` that it was not fitted on."""
        ...

    def train(self, candidate: Candidate, train: pd.DataFrame) -> Any:
        """Return a fitted estimator that takes the request's columns and gives the answer's."""
        ...

    def export(self, estimator: Any) -> onnx.ModelProto:
        """Return the estimator as one ONNX graph, from the request's columns to the answer's."""
        ...

    def score(self, answers: pd.DataFrame, test: pd.DataFrame) -> Scores:
        """Return metrics, in all and by slice, of answers to the rows of ``test``."""
        ...

    def behaviour(
        self, answer: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame
    ) -> tuple[Check, ...]:
        """Return the behavioural checks of whatever answers a frame of requests."""
        ...

    def evaluate(self, estimator: Any, test: pd.DataFrame) -> Evaluation:
        """Return scores, behavioural checks and figures on the hold-out."""
        ...

    def page(self, frame: pd.DataFrame) -> Page:
        """Return the examples and the figure of the model's page, from all prepared rows."""
        ...


class Prepared(NamedTuple):
    """Rows that are ready for :meth:`Model.split`, and the account of those that are not."""

    frame: pd.DataFrame
    dropped: dict[str, int]


class Split(NamedTuple):
    """The rows to train on, and the hold-out."""

    train: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Candidate:
    """An unfitted estimator with a name, a word on what it is, and its parameters."""

    name: str
    estimator: Any
    parameters: Mapping[str, float | str]
    description: str


@dataclass(frozen=True)
class Bound:
    """A demand on one number, e.g. ``Bound("r2", "at least", 0.84)``."""

    name: str
    comparison: Literal["at least", "at most"]
    limit: float
    unit: str = ""
    description: str = ""

    def check(self, value: float) -> Check:
        """Return the bound together with the value that was found."""
        return Check(**asdict(self), value=value)


@dataclass(frozen=True)
class Check(Bound):
    """A bound and the value that was found. Not a number never passes."""

    value: float = math.nan

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound."""
        if self.comparison == "at least":
            return self.value >= self.limit
        return self.value <= self.limit

    def __str__(self) -> str:
        """Return the check as a sentence, e.g. ``r2 is 0.91, at least 0.84 is demanded``."""
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name} is {self.value:.6g}{unit}, "
            f"{self.comparison} {self.limit:.6g}{unit} is demanded"
        )


@dataclass(frozen=True)
class Scores:
    """Metrics by name, and the same metrics for each slice of the rows."""

    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Validation:
    """What cross-validation found on unseen rows. Figures are PNG files by name."""

    metrics: dict[str, float]
    checks: tuple[Check, ...]
    figures: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What the hold-out shows of one estimator. Figures are PNG files by name."""

    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    checks: tuple[Check, ...]
    figures: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Criteria:
    """What the gate demands of a candidate.

    Parameters
    ----------
    metric
        The metric by which candidates, champion and challenger are compared. More is better.
    cross_validated
        Bounds on the metrics of cross-validation.
    hold_out
        Bounds on the metrics of the hold-out.
    margin
        How much better than the champion's the metric must be, on the same hold-out. Negative
        allows a candidate that is worse by less than the noise of the metric.
    error
        The metric, less is better, by which slices are compared with the champion.
    slice_tolerance
        By which fraction the error of a slice may exceed the champion's.
    simplicity
        Of two candidates whose metric differs by less than this, the simpler is chosen.
    parity
        The greatest relative difference between an ONNX answer and the estimator's.
    latency_ms
        The greatest median time of one ONNX answer to one request, in milliseconds.
    """

    metric: str
    cross_validated: tuple[Bound, ...]
    hold_out: tuple[Bound, ...]
    margin: float
    error: str
    slice_tolerance: float
    simplicity: float
    parity: float
    latency_ms: float


class UnknownModelError(LookupError):
    """There is no model of that name."""


def available() -> list[str]:
    """Return the names of the models of this installation, in alphabetical order."""
    package = importlib.import_module("roadworthy.models")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg)


def load(name: str) -> Model:
    """Return the model of that name; its heavier parts are imported when they are used.

    Raises
    ------
    UnknownModelError
        There is no such model.
    """
    if name not in available():
        raise UnknownModelError(
            f"There is no model {name!r}; there are: {', '.join(available())}. "
            f"Name one of them, or add the package src/roadworthy/models/{name}/."
        )
    return cast("Model", importlib.import_module(f"roadworthy.models.{name}"))
