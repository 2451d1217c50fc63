"""What a model offers to the pipeline, the gate and the server.

A model is a package with the parts of :class:`Model` as plain functions and values. There is no
base class to inherit. It is ``roadworthy.models.<name>``, or a package of another installed
distribution, which names it by an entry point of the group ``roadworthy.models``::

    [project.entry-points."roadworthy.models"]
    tides = "tidal.model"
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from roadworthy.models.routes import Latest, Route

if TYPE_CHECKING:
    import onnx
    import pandas as pd
    import pandera.pandas as pa
    from pydantic import BaseModel

    from roadworthy.models.agreement import Tolerance
    from roadworthy.models.page import Page

Task = Literal["regression", "classification", "anomaly"]
GROUP = "roadworthy.models"
"""The group of entry points that name models of other distributions."""


class Model(Protocol):
    """The parts of a model package.

    Data between its parts is a frame with one row per example. A cell is a number, a boolean, a
    string, or a numpy array (a list, an image). How frames are kept between steps is the dataset's.
    """

    name: str
    """The model's name: its entry point or package, its registered name, its address at the
    server."""
    title: str
    """Its name for people."""
    task: Task
    """What it does."""
    data: str
    """The ``.dvc`` file of its raw data, a file or a directory, relative to the repository's
    root."""
    dataset: Dataset
    """How its data is read, written and counted."""
    schema: pa.DataFrameSchema
    """The raw data: columns, types and ranges, with the unit in each column's description."""
    key: Sequence[str]
    """The columns that name a row of raw data; the whole row's content where there are none."""
    Request: type[BaseModel]
    """One prediction request: units, bounds and an example. Fields are numbers, booleans, strings,
    lists of these and images, see :mod:`roadworthy.models.fields`. In frames and ONNX inputs an
    optional field that is left out is NaN, or an empty string."""
    Answer: type[BaseModel]
    """One answer: numbers, booleans, strings or lists, each with its unit. The ONNX outputs carry
    the same names."""
    candidates: Sequence[Candidate]
    """What training tries, the simplest first."""
    criteria: Criteria
    """What the gate requires."""
    tolerance: Mapping[str, Tolerance]
    """How far two answers may differ and still agree, by answer field;
    :data:`roadworthy.models.agreement.DEFAULT` for those that are left out."""
    resources: Mapping[str, Resources]
    """What the steps that need more than a small pod need, by the name of the step."""
    extra: str
    """The extra of its distribution that its training needs, empty for none."""
    routes: Sequence[Route]
    """GET addresses that the server answers for it, as data: they are kept in the bundle."""

    def prepare(self, raw: pd.DataFrame) -> Prepared:
        """Return clean, typed rows, and how many were dropped for which reason."""
        ...

    def split(self, frame: pd.DataFrame) -> Split:
        """Return the rows to train on and the hold-out, which is never trained on.

        :mod:`roadworthy.models.splits` has splits by seed, by time and by subject.
        """
        ...

    def cross_validate(self, candidate: Candidate, train: pd.DataFrame) -> Validation:
        """Return how a candidate does on rows of ``train`` that it was not fitted on.

        By k-fold, or walking forward in time, see :mod:`roadworthy.models.splits`.
        """
        ...

    def train(self, candidate: Candidate, train: pd.DataFrame) -> Any:
        """Return a fitted estimator that takes the request's columns and gives the answer's."""
        ...

    def export(self, estimator: Any) -> onnx.ModelProto:
        """Return the estimator as one ONNX graph, from the request's columns to the answer's.

        Inputs and outputs have a leading batch dimension: ``[n]`` for numbers, booleans and
        strings, ``[n, k]`` for lists, ``[n, H, W]`` or ``[n, H, W, 3]`` for images.
        """
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


class Ingests(Protocol):
    """A model that gets new data from outside."""

    def ingest(self, raw: pd.DataFrame, now: datetime) -> pd.DataFrame:
        """Return the raw rows from outside that ``raw`` may lack; known ones are left out later.

        ``now`` is aware of its time zone, and may be that of a simulated clock.

        Raises
        ------
        ValueError
            The source does not answer, or its answer cannot be trusted. It says which and what to
            do; the data stays as it is.
        """
        ...

    def latest(self, raw: pd.DataFrame) -> Latest:
        """Return the newest request that the raw data holds, for :attr:`Model.routes`."""
        ...


class TimeOrdered(Protocol):
    """A model whose life can be simulated on known data: its rows have a date."""

    time: str
    """The column of raw and prepared rows with the date, ISO 8601, at which a row is known."""
    windows: Windows
    """The windows of a simulation."""

    def losses(self, answers: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
        """Return the loss of each answer, less is better, to compare two versions in pairs."""
        ...


class Labels(Protocol):
    """A model that learns from the true values of requests that it answered."""

    def labelled(
        self, request: Mapping[str, Any], truth: Mapping[str, Any], origin: str
    ) -> Mapping[str, Any] | None:
        """Return a row of raw data, or None where the request does not hold enough for one."""
        ...


class Compares(Protocol):
    """A model whose versions differ within a row, such as in some values of a list."""

    def disagreements(
        self, answers: Mapping[str, pd.DataFrame], rows: pd.DataFrame
    ) -> Disagreements:
        """Return where the answers of versions, by their name, to the same rows differ."""
        ...


class Dataset(Protocol):
    """How data is kept. Steps pass paths on and know no format."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the raw data of a file or directory, untouched."""
        ...

    def write(self, data: pd.DataFrame, path: Path) -> None:
        """Write rows for another step, to a file or a directory."""
        ...

    def load(self, path: Path) -> pd.DataFrame:
        """Return the rows that :meth:`write` wrote."""
        ...

    def count(self, data: pd.DataFrame) -> int:
        """Return how many examples there are."""
        ...


@dataclass(frozen=True)
class Resources:
    """What a step needs to run on a cluster.

    Parameters
    ----------
    cpu, memory
        Kubernetes quantities, e.g. ``"2"`` and ``"4Gi"``; empty for the default.
    gpu
        How many GPUs.
    image
        The variant of the pipeline's image, e.g. ``"torch"``; empty for the default.
    retries
        How often it is run again after it failed.
    """

    cpu: str = ""
    memory: str = ""
    gpu: int = 0
    image: str = ""
    retries: int = 0


@dataclass(frozen=True)
class Windows:
    """What a day of a simulation looks at, in calendar days.

    Parameters
    ----------
    anchor_offset
        How long before the end of the data the simulation begins.
    training
        How much is trained on. Each candidate is tried with each: a longer one may win.
    evaluation
        The last days, which are evaluated on. Training ends before them.
    gap
        How many dates are left out between the two, where an outcome lies that far ahead.
    """

    anchor_offset: int = 365
    training: tuple[int, ...] = (30,)
    evaluation: int = 7
    gap: int = 1


class Prepared(NamedTuple):
    """Rows that are ready for :meth:`Model.split`, and the account of those that are not."""

    frame: pd.DataFrame
    dropped: dict[str, int]


class Disagreements(NamedTuple):
    """Where versions of a model differ: a picture, and a table with a row for each difference.

    The figure is an SVG element, see :func:`roadworthy.models.figures.svg`.
    """

    figure: str
    table: pd.DataFrame


FEWEST_ROWS = 10
"""With fewer rows to train on or held out, a cross-validation or a metric means nothing."""


class Split(NamedTuple):
    """The rows to train on, and the hold-out."""

    train: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Candidate:
    """An unfitted estimator with a name, a description and its parameters."""

    name: str
    estimator: Any
    parameters: Mapping[str, float | str]
    description: str


@dataclass(frozen=True)
class Bound:
    """A requirement on one number, e.g. ``Bound("r2", "at least", 0.84)``."""

    name: str
    comparison: Literal["at least", "at most"]
    limit: float
    unit: str = ""
    description: str = ""

    def check(self, value: float, note: str = "") -> Check:
        """Return the bound together with the value that was found."""
        return Check(**asdict(self), value=value, note=note)


@dataclass(frozen=True)
class Check(Bound):
    """A bound and the value that was found, with a note on it. Not a number never passes."""

    value: float = math.nan
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within the bound."""
        if self.comparison == "at least":
            return self.value >= self.limit
        return self.value <= self.limit

    def __str__(self) -> str:
        """Return the check as a sentence, e.g. ``r2 is 0.91, at least 0.84 is required``."""
        unit = f" {self.unit}" if self.unit else ""
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.name} is {self.value:.6g}{unit}, "
            f"{self.comparison} {self.limit:.6g}{unit} is required{note}"
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
    """What the hold-out shows of one estimator. Figures are PNG files by name.

    ``note`` says in a few plain sentences what its users must know of it: the model card and its
    page begin with it. ``record`` has past answers and what came, the latest first: its page lists
    them.
    """

    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    checks: tuple[Check, ...]
    figures: dict[str, bytes] = field(default_factory=dict)
    note: str = ""
    record: tuple[Mapping[str, float | str], ...] = ()


@dataclass(frozen=True)
class Criteria:
    """What the gate requires of a candidate.

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
    latency_ms: float


class UnknownModelError(LookupError):
    """There is no model of that name."""


class IncompleteModelError(AttributeError):
    """A model package lacks a part."""


class ExportError(TypeError):
    """An estimator cannot be exported to ONNX. The message names the step and what to do."""


def available() -> list[str]:
    """Return the names of all models of this environment, in alphabetical order."""
    return sorted({*_own(), *_installed()})


def load(name: str) -> Model:
    """Return the model of that name; its heavier parts are imported when they are used.

    Parts that a package may leave out have their default: ``title`` the name, ``task`` regression,
    ``dataset`` a CSV file kept as Parquet, ``tolerance`` the default of every field, and neither
    ``key``, ``resources``, ``extra`` nor ``routes``.

    Raises
    ------
    UnknownModelError
        There is no such model.
    IncompleteModelError
        Its package is of another name.
    """
    if name in _own():
        package = importlib.import_module(f"roadworthy.models.{name}")
    elif name in (installed := _installed()):
        package = installed[name].load()
    else:
        raise UnknownModelError(
            f"There is no model {name!r}; there are: {', '.join(available())}. "
            f"Name one of them, add the package src/roadworthy/models/{name}/, or install a "
            f"distribution with the entry point {name!r} of the group {GROUP}."
        )
    if (found := getattr(package, "name", None)) != name:
        raise IncompleteModelError(
            f"The package of the model {name!r} has the name {found!r}. Set its `name` to {name!r}."
        )
    return cast("Model", _Loaded(package))


def installed_modules() -> list[str]:
    """Return the modules of the models that other distributions bring."""
    return [point.module for point in _installed().values()]


def _own() -> list[str]:
    package = importlib.import_module("roadworthy.models")
    return [found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg]


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


class _Loaded:
    """A model package, with defaults for what it leaves out."""

    def __init__(self, package: Any) -> None:
        self._package = package

    def __getattr__(self, part: str) -> Any:
        if part == "dataset":
            return _dataset(self._package)
        try:
            return getattr(self._package, part)
        except AttributeError:
            if part == "title":
                return self._package.name
            if part in _DEFAULTS:
                return _DEFAULTS[part]
            raise IncompleteModelError(
                f"The model {self._package.name!r} has no {part!r}. Add it to its package: see "
                f"{__name__}.Model."
            ) from None


_DEFAULTS: Mapping[str, Any] = {
    "task": "regression",
    "tolerance": {},
    "resources": {},
    "extra": "",
    "key": (),
    "routes": (),
}


def _dataset(package: Any) -> Dataset:
    """Return the package's dataset, by default a table that the package may read on its own.

    A package may have a module of that name too, which hides the value once it is imported.
    """
    from roadworthy.models.datasets import TableDataset
    from roadworthy.models.tables import read_csv

    found = getattr(package, "dataset", None)
    if isinstance(found, ModuleType):
        found = getattr(found, "dataset", None)
    return found or TableDataset(getattr(package, "read", read_csv))
