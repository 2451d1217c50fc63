"""Compare two versions of a model on the same hold-out.

The hold-out is that of the newer version's release: its data, split as the pipeline splits it. Rows
that either version was trained on are left out and counted.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from roadworthy.bundles import releases
from roadworthy.bundles.bundle import Manifest
from roadworthy.bundles.scoring import Scorer
from roadworthy.core import pages
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import git
from roadworthy.models import contract
from roadworthy.models.agreement import DEFAULT, differences
from roadworthy.models.contract import Criteria, Disagreements, Model, Scores, UnknownModelError
from roadworthy.review import figures
from roadworthy.steps.gate import score
from roadworthy.steps.prepare import prepare_raw
from roadworthy.tracking.registry import Registry, Version

RESAMPLES = 500
SEED = 0
CONFIDENCE = 0.95
SHOWN = 10
"""How many of the rows on which the versions differ are listed."""
_FEWEST_ROWS = 10
_MOST_LABELS = 20
_FORMAT = 2
# Runs the code of another commit in its own process; models of any commit offer these functions.
_TRAINING_ROWS = """
import sys
from pathlib import Path
from roadworthy.models import contract
model = contract.load(sys.argv[1])
dataset = getattr(model, "dataset", model)
rows = model.split(model.prepare(model.schema.validate(dataset.read(Path(sys.argv[2]))))[0])[0]
if hasattr(dataset, "write"):
    dataset.write(rows, Path(sys.argv[3]))
else:
    rows.to_parquet(sys.argv[3], index=False)
"""

Answers = tuple[pd.DataFrame, pd.DataFrame]


class ComparisonError(RoadworthyError):
    """Two versions cannot be compared."""


@dataclass(frozen=True)
class Side:
    """One of the two versions, and what it was made of."""

    name: str
    candidate: str
    commit: str
    data_hash: str
    digest: str


@dataclass(frozen=True)
class Line:
    """One metric of both versions.

    Parameters
    ----------
    part
        The slice of the hold-out; empty for all of it.
    first, second, difference
        The metric's values, and the second less the first.
    low, high
        The bootstrap's percentile interval of the difference (Efron and Tibshirani 1993, chapter
        13): rows are drawn with replacement, the same for both versions. Not a number where it is
        unknown.
    better
        The name of the better version; empty where they are equal or the criteria do not say
        whether more or less of the metric is better.
    """

    part: str
    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    better: str

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Row:
    """A row of the hold-out and both versions' answers.

    Parameters
    ----------
    number
        Its position in the hold-out, from 0.
    asked
        The request.
    known
        The other columns of the row, such as the target.
    difference
        The second number less the first in the output that is compared; not a number where the
        output is not one.
    """

    number: int
    asked: dict[str, Any]
    known: dict[str, Any]
    first: dict[str, Any]
    second: dict[str, Any]
    difference: float


@dataclass(frozen=True)
class Comparison:
    """What the same hold-out shows of two versions. Get one from :func:`compare`.

    Parameters
    ----------
    held_out
        The name of the version whose hold-out it is.
    rows, left_out
        How many rows were scored, and how many were left out because a version was trained on them.
    verdict
        Which version is better, by how much, and whether the difference is more than chance.
    notes
        Further sentences for the reader.
    metric, error
        The metric by which versions are compared, and the error by which slices are.
    output, unit
        The output by which rows are compared, and its unit.
    lines
        Every metric: of all rows first, then by slice.
    differing
        The rows on which the answers differ most.
    answers, known
        Both answers to each row in that output, and the true values; no true values where the
        hold-out does not have them.
    resamples
        How often the rows were resampled for the intervals.
    disagreements
        What the model itself says of the differences within rows; None where it says nothing.
    """

    model: str
    first: Side
    second: Side
    held_out: str
    rows: int
    left_out: int
    verdict: str
    notes: tuple[str, ...]
    metric: str
    error: str
    output: str
    unit: str
    lines: tuple[Line, ...]
    differing: tuple[Row, ...]
    answers: tuple[tuple[Any, Any], ...]
    known: tuple[Any, ...]
    resamples: int
    disagreements: Disagreements | None = None

    @property
    def labels(self) -> pd.DataFrame | None:
        """How often each pair of labels was answered; None where the answers are numbers.

        Beyond the most frequent labels, the others are counted as one.
        """
        if self.disagreements or _are_numbers(self.answers):
            return None
        pairs = pd.DataFrame(self.answers, columns=[self.first.name, self.second.name]).astype(str)
        frequent = pairs.stack().value_counts().index[:_MOST_LABELS]
        pairs = pairs.where(pairs.isin(frequent), "other")
        return pd.crosstab(pairs.iloc[:, 0], pairs.iloc[:, 1])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values; numbers that are not finite are None."""
        facts = asdict(replace(self, disagreements=None)) | {
            "format": _FORMAT,
            "confidence": CONFIDENCE,
            "seed": SEED,
        }
        del facts["disagreements"]
        plain: dict[str, Any] = pages.finite(facts)
        return plain

    def to_html(self) -> bytes:
        """Return it as one HTML page without external resources."""
        return pages.render(
            "roadworthy.review",
            "comparison.html.j2",
            {"number": number, "signed": signed, "cell": cell},
            of=self,
            confidence=CONFIDENCE,
            figure=self._figure(),
            labels=self.labels,
            shown=SHOWN,
            asked=list(dict.fromkeys(name for row in self.differing for name in row.asked)),
            known=list(dict.fromkeys(name for row in self.differing for name in row.known)),
        ).encode()

    def _figure(self) -> str:
        if self.disagreements:
            return self.disagreements.figure
        if not _are_numbers(self.answers):
            return ""
        label = ", ".join(dict.fromkeys(filter(None, (self.output, self.unit))))
        return figures.scatter(label, (self.first.name, self.second.name), self.answers, self.known)


def compare(
    settings: Settings,
    first: tuple[str, str],
    second: tuple[str, str],
    *,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Return what the same hold-out shows of two versions of a model.

    Parameters
    ----------
    first, second
        Each a model and a reference, as :meth:`roadworthy.tracking.registry.Registry.find` takes
        it. Differences are the second less the first.
    resamples
        How often the rows are resampled for the intervals.

    Raises
    ------
    ComparisonError
        They are the same version, versions of different models, or have different requests or
        answers.
    RegistryError, GitError, DvcError, BundleError
        A version does not exist or cannot be fetched.
    """
    if first[0] != second[0]:
        raise ComparisonError(
            f"{first[0]} and {second[0]} are different models: name two versions of one model, "
            f"such as {first[0]}:1 {first[0]}:2."
        )
    registry = Registry.of(settings)
    versions = registry.find(*first), registry.find(*second)
    if versions[0].number == versions[1].number:
        raise ComparisonError(
            f"Both are {first[0]}:{versions[0].number}. Name two versions; `roadworthy models` "
            f"lists them."
        )
    try:
        model = contract.load(first[0])
    except UnknownModelError as error:
        raise ComparisonError(str(error)) from error
    with ExitStack() as opened, ThreadPoolExecutor(max_workers=2) as pool:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="roadworthy-")))
        one, other = pool.map(partial(_fetch, settings, model, scratch, opened), versions)
        newer = max(one, other, key=lambda fetched: fetched.version.number)
        held_out = _hold_out(model, newer.raw, scratch)
    return _compare(model, one, other, newer.name, held_out, resamples)


def default_file(settings: Settings, comparison: Comparison) -> Path:
    """Return the place of a comparison's page in the home, named by both versions."""
    settings.make_home()
    names = "-".join((comparison.first.name, comparison.second.name)).replace(":", "-")
    return settings.home / "comparisons" / f"{names}.html"


def metric_lines(
    criteria: Criteria,
    names: tuple[str, str],
    scores: tuple[Scores, Scores],
    resampled: Sequence[Mapping[tuple[str, str], float]] = (),
) -> tuple[Line, ...]:
    """Return every metric of two versions side by side.

    Parameters
    ----------
    resampled
        The differences of each resample, by slice and metric; without any, all intervals are
        unknown.
    """
    ones, others = map(_flat, scores)
    directions = _directions(criteria)
    lines = []
    for part, metric in dict.fromkeys([*ones, *others]):
        one, other = (of.get((part, metric), math.nan) for of in (ones, others))
        low, high = _interval([of.get((part, metric), math.nan) for of in resampled])
        gain = (other - one) * directions.get(metric, 0)
        better = names[0] if gain < 0 else names[1] if gain > 0 else ""
        lines.append(Line(part, metric, one, other, other - one, low, high, better))
    return tuple(lines)


def number(value: float | None) -> str:
    """Return a number with four significant digits."""
    return pages.number(value, unknown="unknown")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return f"+{number(value)}" if value is not None and value > 0 else number(value)


def cell(value: Any) -> str:
    """Return a value of a row as the text of a table's cell."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class _Fetched(NamedTuple):
    """A release, its raw data, and the rows it was trained on or why these are unknown."""

    version: Version
    manifest: Manifest
    digest: str
    scorer: Scorer
    raw: Path
    trained_on: pd.DataFrame | str

    @property
    def name(self) -> str:
        return f"{self.version.model}:{self.version.number}"

    @property
    def side(self) -> Side:
        made_of = self.manifest
        return Side(self.name, made_of.candidate, made_of.commit, made_of.data_hash, self.digest)


def _fetch(
    settings: Settings, model: Model, scratch: Path, opened: ExitStack, version: Version
) -> _Fetched:
    released = opened.enter_context(releases.fetch(settings, model.name, version.git_tag))
    made_of = released.manifest
    repository, raw = opened.enter_context(releases.origin(settings, made_of, model.data))
    rows = scratch / f"rows-{version.number}"
    trained_on: pd.DataFrame | str
    try:
        # Its own code splits its data. It may be of another release, so it runs in its own process.
        code = git.export(repository, made_of.commit, scratch / "code") / "src"
        call(
            [sys.executable, "-c", _TRAINING_ROWS, model.name, raw, rows],
            cwd=scratch,
            environment={"PYTHONPATH": str(code), "PWD": str(scratch)},
        )
        trained_on = model.dataset.load(rows)
    except CommandError as error:
        trained_on = (error.output.splitlines() or [str(error)])[-1].rstrip(".")
    return _Fetched(version, made_of, released.digest, Scorer(released.graph), raw, trained_on)


def _hold_out(model: Model, raw: Path, scratch: Path) -> pd.DataFrame:
    """Return the hold-out of a release's data, prepared and split by the installed code."""
    prepare_raw(model.name, raw, train=scratch / "train", test=scratch / "test")
    return model.dataset.load(scratch / "test")


def _compare(
    model: Model,
    first: _Fetched,
    second: _Fetched,
    newer: str,
    held_out: pd.DataFrame,
    resamples: int,
) -> Comparison:
    _check_comparable(first, second, newer, held_out)
    seen = [_seen(of.trained_on, held_out) for of in (first, second)]
    kept = ~np.logical_or(*seen)
    rows = held_out[kept].reset_index(drop=True)
    if len(rows) < _FEWEST_ROWS:
        raise ComparisonError(
            f"Only {len(rows)} of the {len(held_out)} rows that {newer} held out were not used to "
            f"train one of the two versions, and {_FEWEST_ROWS} are needed."
        )
    answers = score(first.scorer, rows), score(second.scorer, rows)[list(first.scorer.outputs)]
    output = next((name for name in first.scorer.outputs if name in rows), first.scorer.outputs[0])
    names = first.name, second.name
    tolerances = first.manifest.tolerances
    changes = {
        str(name): differences(
            one.to_numpy(), answers[1][name].to_numpy(), tolerances.get(str(name), DEFAULT)
        )
        for name, one in answers[0].items()
    }
    alike = not any(of.any() for of in changes.values())
    resampled = [] if alike else _resample(model, answers, rows, resamples)
    found = getattr(model, "disagreements", None)
    scores = model.score(answers[0], rows), model.score(answers[1], rows)
    lines = metric_lines(model.criteria, names, scores, resampled)
    return Comparison(
        model=model.name,
        first=first.side,
        second=second.side,
        held_out=newer,
        rows=len(rows),
        left_out=int((~kept).sum()),
        verdict=_verdict(names, model.criteria.metric, lines, alike=alike),
        notes=_notes((first, second), seen, newer),
        metric=model.criteria.metric,
        error=model.criteria.error,
        output=output,
        unit=_fields(first, "answer").get(output, {}).get("unit", ""),
        lines=lines,
        differing=_differing(answers, changes, rows, output, list(second.scorer.inputs)),
        answers=tuple(zip(*(answer[output].tolist() for answer in answers), strict=True)),
        known=tuple(rows[output].tolist()) if output in rows else (),
        resamples=resamples,
        disagreements=found(dict(zip(names, answers, strict=True)), rows) if found else None,
    )


def _check_comparable(
    first: _Fetched, second: _Fetched, newer: str, held_out: pd.DataFrame
) -> None:
    for fetched in (first, second):
        if missing := sorted(set(fetched.scorer.inputs) - set(held_out.columns)):
            raise ComparisonError(
                f"{fetched.name} requires {', '.join(missing)}, which the hold-out of {newer} does "
                f"not have: versions with different requests are not compared."
            )
    if set(first.scorer.outputs) != set(second.scorer.outputs):
        raise ComparisonError(
            f"{first.name} answers {', '.join(first.scorer.outputs)}, and {second.name} answers "
            f"{', '.join(second.scorer.outputs)}: different answers are not compared."
        )
    for part in ("request", "answer"):
        ones, others = _fields(first, part), _fields(second, part)
        for name in sorted(set(ones) & set(others)):
            one, other = (of[name].get("unit") or "no unit" for of in (ones, others))
            if one != other:
                raise ComparisonError(
                    f"{name} is in {one} for {first.name} and in {other} for {second.name}: "
                    f"numbers in different units are not compared."
                )


def _fields(fetched: _Fetched, part: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(fetched.manifest, part).get("properties", {})
    return fields


def _seen(trained_on: pd.DataFrame | str, held_out: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which rows of the hold-out are training rows, by the columns that both have."""
    if isinstance(trained_on, str):
        return np.zeros(len(held_out), dtype=bool)
    common = list(held_out.columns.intersection(trained_on.columns))
    if not common:
        return np.zeros(len(held_out), dtype=bool)
    keys, training_keys = (
        of[common].map(_key).agg("|".join, axis=1) for of in (held_out, trained_on)
    )
    found: npt.NDArray[np.bool_] = keys.isin(set(training_keys)).to_numpy()
    return found


def _key(value: Any) -> str:
    """Return a value as text. Numbers are rounded to 32 bits, as one side may have stored them."""
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.dtype == object else value.astype("f4").tobytes().hex()
    if pd.isna(value) or isinstance(value, str):
        return str(value)
    return str(np.float32(value))


def _resample(
    model: Model, answers: Answers, rows: pd.DataFrame, resamples: int
) -> list[dict[tuple[str, str], float]]:
    """Return the differences of all metrics for each resample of the rows, the same for both."""
    generator = np.random.default_rng(SEED)
    found = []
    for _ in range(resamples):
        places = generator.integers(0, len(rows), len(rows))
        drawn, *both = (of.iloc[places].reset_index(drop=True) for of in (rows, *answers))
        one, other = (_flat(model.score(answer, drawn)) for answer in both)
        found.append({key: other.get(key, math.nan) - value for key, value in one.items()})
    return found


def _flat(scores: Scores) -> dict[tuple[str, str], float]:
    parts = {"": scores.metrics} | scores.slices
    return {(part, name): value for part, values in parts.items() for name, value in values.items()}


def _interval(resampled: Sequence[float]) -> tuple[float, float]:
    known = np.array(resampled, dtype=np.float64)
    known = known[np.isfinite(known)]
    # A slice of few rows is often not drawn at all; the remaining draws are biased.
    if not len(known) or len(known) < len(resampled) * CONFIDENCE:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _directions(criteria: Criteria) -> dict[str, int]:
    """Return 1 for metrics of which more is better, -1 for those of which less is."""
    bounds: dict[str, set[str]] = {}
    for bound in criteria.hold_out:
        bounds.setdefault(bound.name, set()).add(bound.comparison)
    known = {name: 1 if of == {"at least"} else -1 for name, of in bounds.items() if len(of) == 1}
    return known | {criteria.metric: 1, criteria.error: -1}


def _verdict(names: tuple[str, str], metric: str, lines: Sequence[Line], *, alike: bool) -> str:
    first, second = names
    if alike:
        return f"{first} and {second} answer every row alike."
    line = next((of for of in lines if not of.part and of.metric == metric), None)
    if line is None or math.isnan(line.low):
        return f"It is unknown which version is better by {metric}."
    found = (
        f"{metric} is {number(line.first)} for {first} and {number(line.second)} for {second}, "
        f"a difference of {signed(line.difference)}"
    )
    within = f"{CONFIDENCE:.0%} interval {signed(line.low)} to {signed(line.high)}"
    if not line.certain:
        return f"{found} ({within}): the interval includes 0, so it may be chance."
    return f"{line.better} is better: {found} ({within}), which is more than chance."


def _notes(
    fetched: Sequence[_Fetched], seen: Sequence[npt.NDArray[np.bool_]], newer: str
) -> tuple[str, ...]:
    notes = [
        f"{rows.sum()} of the {len(rows)} rows that {newer} held out are left out: {of.name} was "
        f"trained on them."
        for of, rows in zip(fetched, seen, strict=True)
        if rows.any()
    ]
    notes += [
        f"Which rows {of.name} was trained on is unknown, and some of these may be among them: its "
        f"code does not prepare its data here ({of.trained_on})."
        for of in fetched
        if isinstance(of.trained_on, str)
    ]
    return tuple(notes) or ("Neither version was trained on any of these rows.",)


def _differing(
    answers: Answers,
    changes: Mapping[str, npt.NDArray[np.float64]],
    rows: pd.DataFrame,
    output: str,
    inputs: Sequence[str],
) -> tuple[Row, ...]:
    """Return the rows whose answers differ most: in the output, and then in any other."""
    most = np.max(list(changes.values()), axis=0)
    others = [name for name in rows.columns if name not in inputs]
    found = []
    for place in np.lexsort((-most, -changes[output]))[:SHOWN]:
        if most[place] == 0:
            break
        first, second = (_plain(answer.loc[place]) for answer in answers)
        apart = second.get(output, math.nan), first.get(output, math.nan)
        request, known = (_plain(rows.loc[place, names]) for names in (list(inputs), others))
        found.append(Row(int(place), request, known, first, second, _less(*apart)))
    return tuple(found)


def _less(one: Any, other: Any) -> float:
    return float(one - other) if _are_numbers([(one, other)]) else math.nan


def _plain(values: pd.Series) -> dict[str, Any]:
    """Return the values that are not missing as Python's own."""
    plain = {str(name): of.tolist() if hasattr(of, "tolist") else of for name, of in values.items()}
    return {name: of for name, of in plain.items() if isinstance(of, list) or not _is_missing(of)}


def _is_missing(value: Any) -> bool:
    return bool(value == "" or pd.isna(value))


def _are_numbers(answers: Sequence[tuple[Any, Any]]) -> bool:
    """Return whether answers are numbers; labels, booleans and lists are not."""
    return all(type(value) in (int, float) for pair in answers for value in pair)
