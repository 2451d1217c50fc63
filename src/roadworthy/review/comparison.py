"""Two versions of a model side by side, on the same hold-out.

The hold-out is that of the newer version's release: its data, split as the pipeline splits it. Rows
that either version was trained on are left out and counted.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from roadworthy import models
from roadworthy.bundles import releases
from roadworthy.bundles.bundle import Manifest
from roadworthy.bundles.scoring import Scorer
from roadworthy.core import pages
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import dvc, git
from roadworthy.models import contract
from roadworthy.models.contract import Criteria, Model, Scores, UnknownModelError
from roadworthy.steps.gate import score
from roadworthy.steps.prepare import prepare
from roadworthy.tracking.registry import Registry, Version

RESAMPLES = 500
SEED = 0
_CONFIDENCE = 0.95
_SHOWN = 10
_FEWEST = 10
_FORMAT = 1
_BINS = 24
# Runs the code of another commit, in a process of its own, by what models of any commit offer.
_SPLIT = """
import sys
from pathlib import Path
from roadworthy.models import contract
model = contract.load(sys.argv[1])
frame = model.prepare(model.schema.validate(model.read(Path(sys.argv[2]))))[0]
model.split(frame)[0].to_parquet(sys.argv[3], index=False)
"""

Floats = npt.NDArray[np.float64]
Answered = tuple[pd.DataFrame, pd.DataFrame]


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
    metric
        The metric's name.
    first, second, difference
        Its values, and the second less the first.
    low, high
        Between which 95 % of the differences lie when the rows are drawn anew, with replacement and
        the same for both; not a number where that cannot be said.
    better
        The name of the better version; empty where they are equal or the metric has no direction.
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
        """Whether the interval does not hold 0: another draw would hardly turn it round."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Row:
    """A row of the hold-out and what both versions answer.

    Parameters
    ----------
    number
        Its place in the hold-out, from 0.
    asked
        The request.
    known
        What else is known of it, the target among that.
    first, second
        The answers.
    difference
        The second answer less the first, in the output that is compared.
    """

    number: int
    asked: dict[str, Any]
    known: dict[str, Any]
    first: dict[str, float]
    second: dict[str, float]
    difference: float


@dataclass(frozen=True)
class Comparison:
    """What the same hold-out shows of two versions. Get one from :func:`compare`.

    Parameters
    ----------
    held_out
        The name of the version whose release the hold-out is of.
    rows, left_out
        How many rows were answered, and how many were not, because a version was trained on them.
    verdict
        Which is better and by how much, and whether that means anything, in a sentence.
    notes
        What a reader has to know besides, as sentences.
    metric, error
        The metric by which versions are compared, and the error by which slices are.
    output, unit
        The output by which rows are compared, and its unit.
    lines
        Every metric, of all rows first and then by slice.
    differing
        The rows on which the answers differ most.
    answers
        Both answers to each row in that output.
    resamples
        How often the rows were drawn anew for the intervals.
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
    answers: tuple[tuple[float, float], ...]
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values. What is not a finite number there is None."""
        told = asdict(self) | {
            "format": _FORMAT,
            "confidence": _CONFIDENCE,
            "seed": SEED,
        }
        plain: dict[str, Any] = pages.finite(told)
        return plain

    def to_html(self) -> bytes:
        """Return it as one HTML page that needs nothing else."""
        page = pages.render(
            "roadworthy.review",
            "comparison.html.j2",
            {"number": number, "signed": signed, "cell": cell},
            of=self,
            confidence=_CONFIDENCE,
            against=_against(self.answers),
            spread=_spread(self.answers),
            errors=_errors([line for line in self.lines if line.metric == self.error]),
            asked=list(dict.fromkeys(name for row in self.differing for name in row.asked)),
            known=list(dict.fromkeys(name for row in self.differing for name in row.known)),
        )
        return page.encode()


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
        Each a model and a reference, as
        :meth:`roadworthy.tracking.registry.Registry.find` takes it.
        Differences are the second less the first.
    resamples
        How often the rows are drawn anew for the intervals.

    Raises
    ------
    ComparisonError
        They are the same version, of different models, or take requests that the other's rows
        cannot be asked of.
    RegistryError, GitError, DvcError, BundleError
        A version is not there, or cannot be fetched.
    """
    if first[0] != second[0]:
        raise ComparisonError(
            f"{first[0]} and {second[0]} are different models, which answer different questions: "
            f"name two versions of one model, such as {first[0]}:1 {first[0]}:2."
        )
    registry = Registry.of(settings)
    found = registry.find(*first), registry.find(*second)
    if found[0].number == found[1].number:
        raise ComparisonError(
            f"Both are {_name(found[0])}, which differs in nothing from itself. Name two versions; "
            f"`roadworthy models` lists them."
        )
    chosen = _load(first[0])
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        place = Path(scratch)
        with ThreadPoolExecutor(max_workers=2) as pool:
            one, other = pool.map(lambda version: _fetch(settings, version, place), found)
        newer = max(one, other, key=lambda fetched: fetched.version.number)
        held_out = _hold_out(chosen.name, newer, place)
        trained = [_trained_on(chosen.name, fetched, place) for fetched in (one, other)]
        told_code = _told_code(newer)
    return _compare(chosen, one, other, newer, held_out, trained, told_code, resamples)


def write(settings: Settings, comparison: Comparison, file: Path | None = None) -> Path:
    """Write the page of a comparison and return its path.

    Parameters
    ----------
    file
        Where it goes; by default to ``comparisons/`` in the home, named by both versions.

    Raises
    ------
    ComparisonError
        It cannot be written there.
    """
    if file is None:
        settings.make_home()
        names = "-".join((comparison.first.name, comparison.second.name)).replace(":", "-")
        file = settings.home / "comparisons" / f"{names}.html"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(comparison.to_html())
    except OSError as error:
        raise ComparisonError(
            f"The page cannot be written to {file} ({error.strerror or error}): name another file "
            f"with --html."
        ) from error
    return file.resolve()


def number(value: float | None) -> str:
    """Return a number as a person reads it."""
    return pages.number(value, unknown="not known")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    told = number(value)
    return f"+{told}" if value is not None and value > 0 else told


def cell(value: Any) -> str:
    """Return a value of a row as it stands in a table."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class _Fetched(NamedTuple):
    """A release, its raw data and its code."""

    version: Version
    manifest: Manifest
    digest: str
    scorer: Scorer
    raw: Path
    code: Path

    @property
    def name(self) -> str:
        return _name(self.version)

    @property
    def side(self) -> Side:
        made_of = self.manifest
        return Side(self.name, made_of.candidate, made_of.commit, made_of.data_hash, self.digest)


class _Trained(NamedTuple):
    """The rows that a version was trained on, or why they are not known."""

    rows: pd.DataFrame | None
    problem: str = ""


def _name(version: Version) -> str:
    return f"{version.model}:{version.number}"


def _load(model: str) -> Model:
    try:
        return contract.load(model)
    except UnknownModelError as error:
        raise ComparisonError(f"{error}") from error


def _fetch(settings: Settings, version: Version, place: Path) -> _Fetched:
    with releases.fetch(settings, version.model, version.git_tag) as released:
        manifest, digest, graph = released.manifest, released.digest, released.graph
    with releases.source(settings, manifest.commit) as repository:
        pointer = _load(version.model).data
        if dvc.content_hash(repository / pointer) != manifest.data_hash:
            raise ComparisonError(
                f"{pointer} at {manifest.commit[:12]} names other data than {_name(version)} was "
                f"made of: run this with the code of that commit."
            )
        raw = place / f"raw-{version.number}"
        shutil.copyfile(dvc.pull(repository, pointer), raw)
        code = git.export(repository, manifest.commit, place / "code")
    return _Fetched(version, manifest, digest, Scorer(graph), raw, code)


def _hold_out(model: str, newer: _Fetched, place: Path) -> pd.DataFrame:
    """Return the hold-out of a release's data, made by the code at hand."""
    made = place / "held-out"
    prepare(model, newer.raw, train=made / "train", test=made / "test")
    return pd.read_parquet(made / "test")


def _trained_on(model: str, fetched: _Fetched, place: Path) -> _Trained:
    """Return the rows that a version was trained on, as its own code chose them."""
    made = place / f"rows-{fetched.version.number}"
    made.mkdir()
    try:
        if _is_code_at_hand(fetched.code):
            prepare(model, fetched.raw, train=made / "train", test=made / "test")
        else:
            call(
                [sys.executable, "-c", _SPLIT, model, fetched.raw, made / "train"],
                cwd=made,
                environment={"PYTHONPATH": str(fetched.code / "src"), "PWD": str(made)},
            )
    except CommandError as error:
        return _Trained(None, (error.output.splitlines() or [str(error)])[-1].rstrip("."))
    except RoadworthyError as error:
        return _Trained(None, str(error).rstrip("."))
    return _Trained(pd.read_parquet(made / "train"))


def _is_code_at_hand(code: Path) -> bool:
    """Return whether the models of a commit are those that this process runs."""
    here = Path(next(iter(models.__path__)))
    return _sources(code / "src" / "roadworthy" / "models") == _sources(here)


def _sources(directory: Path) -> dict[str, bytes]:
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*.py")}


def _compare(
    chosen: Model,
    first: _Fetched,
    second: _Fetched,
    newer: _Fetched,
    held_out: pd.DataFrame,
    trained: Sequence[_Trained],
    told_code: Sequence[str],
    resamples: int,
) -> Comparison:
    _check_comparable(first, second, newer, held_out)
    seen = [_seen(of.rows, held_out) for of in trained]
    kept = ~np.logical_or(*seen)
    rows = held_out[kept].reset_index(drop=True)
    if len(rows) < _FEWEST:
        raise ComparisonError(
            f"Of the {len(held_out)} rows that {newer.name} held out only {len(rows)} were not "
            f"trained on by one of the two, {_FEWEST} are needed: nothing can be said of them."
        )
    answer = score(first.scorer, rows)
    answers = answer, score(second.scorer, rows)[list(answer.columns)]
    output, target = _compared(answers, rows, first.scorer)
    pairs = np.column_stack([answers[0][output], answers[1][output]]).astype(np.float64)
    names = first.name, second.name
    lines = _lines(chosen, names, answers, rows, resamples)
    notes = (
        *_told_left_out((first, second), seen, trained, newer),
        *told_code,
        *_told_requests(first, second),
        *(note for of in (first, second) for note in _told_bounds(of, rows)),
        *_told_nearer(names, pairs, rows, target),
        *_told_directions(chosen.criteria, lines),
    )
    return Comparison(
        model=chosen.name,
        first=first.side,
        second=second.side,
        held_out=newer.name,
        rows=len(rows),
        left_out=int((~kept).sum()),
        verdict=_verdict(names, chosen.criteria, lines, pairs),
        notes=notes,
        metric=chosen.criteria.metric,
        error=chosen.criteria.error,
        output=output,
        unit=first.manifest.answer["properties"].get(output, {}).get("unit", ""),
        lines=lines,
        differing=_differing(answers, rows, output, list(second.scorer.inputs)),
        answers=tuple((float(one), float(other)) for one, other in pairs),
        resamples=resamples,
    )


def _check_comparable(
    first: _Fetched, second: _Fetched, newer: _Fetched, held_out: pd.DataFrame
) -> None:
    for fetched in (first, second):
        if lacking := sorted(set(fetched.scorer.inputs) - set(held_out.columns)):
            raise ComparisonError(
                f"{fetched.name} asks for {', '.join(lacking)}, which the hold-out of {newer.name} "
                f"does not have, so it cannot be asked of these rows: the two take different "
                f"requests and are not compared."
            )
    if set(first.scorer.outputs) != set(second.scorer.outputs):
        raise ComparisonError(
            f"{first.name} answers {', '.join(first.scorer.outputs)}, and {second.name} answers "
            f"{', '.join(second.scorer.outputs)}: different answers are not compared."
        )
    for kind in ("request", "answer"):
        units = [_properties(of.manifest, kind) for of in (first, second)]
        for name in sorted(set(units[0]) & set(units[1])):
            one, other = (fields[name].get("unit", "") for fields in units)
            if one != other:
                raise ComparisonError(
                    f"{name} is in {one or 'no unit'} for {first.name} and in "
                    f"{other or 'no unit'} for {second.name}: what is meant by the same number "
                    f"differs, so the two are not compared."
                )


def _properties(manifest: Manifest, kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(manifest, kind).get("properties", {})
    return found


def _seen(trained: pd.DataFrame | None, held_out: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which rows of the hold-out are the same, in what both have, as one of these."""
    if trained is None:
        return np.zeros(len(held_out), dtype=bool)
    kinds = {
        name: kind
        for name in held_out.columns
        if name in trained.columns
        and (kind := _common_kind(trained[name].dtype, held_out[name].dtype)) is not None
    }
    if not kinds:
        return np.zeros(len(held_out), dtype=bool)
    common = list(kinds)
    merged = (
        held_out[common]
        .astype(kinds)
        .merge(
            trained[common].astype(kinds).drop_duplicates(), how="left", on=common, indicator=True
        )
    )
    return (merged["_merge"] == "both").to_numpy()


def _common_kind(one: Any, other: Any) -> Any:
    """Return as what two columns can be compared, or None: the same number may be of two types."""
    if one == other:
        return one
    if all(pd.api.types.is_numeric_dtype(of) for of in (one, other)):
        # What was rounded to 32 bits is only found again by rounding the other as well.
        return "float32" if "float32" in (str(one).lower(), str(other).lower()) else "float64"
    if all(
        isinstance(of, pd.CategoricalDtype) or of in ("object", "string") for of in (one, other)
    ):
        return "object"
    return None


def _compared(answers: Answered, rows: pd.DataFrame, scorer: Scorer) -> tuple[str, str]:
    """Return the output by which rows are compared, and the column of its true value if known."""
    outputs = list(answers[0].columns)
    known = [name for name in outputs if name in rows.columns and name not in scorer.inputs]
    return (known[0], known[0]) if known else (outputs[0], "")


def _lines(
    chosen: Model, names: tuple[str, str], answers: Answered, rows: pd.DataFrame, resamples: int
) -> tuple[Line, ...]:
    first, second = (_flat(chosen.score(answer, rows)) for answer in answers)
    drawn = _resampled(chosen, answers, rows, resamples)
    directions = _directions(chosen.criteria)
    lines = []
    for key in [*first, *(key for key in second if key not in first)]:
        part, metric = key
        one, other = first.get(key, math.nan), second.get(key, math.nan)
        difference = other - one
        low, high = _interval([draw.get(key, math.nan) for draw in drawn], difference)
        gain = difference * directions.get(metric, 0)
        better = names[0] if gain < 0 else names[1] if gain > 0 else ""
        lines.append(Line(part, metric, one, other, difference, low, high, better))
    return tuple(lines)


def _resampled(
    chosen: Model, answers: Answered, rows: pd.DataFrame, resamples: int
) -> list[dict[tuple[str, str], float]]:
    """Return the differences of all metrics for rows drawn anew, the same rows for both."""
    if answers[0].equals(answers[1]):
        return []
    chance = np.random.default_rng(SEED)
    drawn = []
    for _ in range(resamples):
        places = chance.integers(0, len(rows), len(rows))
        again = rows.iloc[places].reset_index(drop=True)
        one, other = (
            _flat(chosen.score(answer.iloc[places].reset_index(drop=True), again))
            for answer in answers
        )
        drawn.append({key: other.get(key, math.nan) - value for key, value in one.items()})
    return drawn


def _flat(scores: Scores) -> dict[tuple[str, str], float]:
    parts = {"": scores.metrics} | scores.slices
    return {(part, name): value for part, values in parts.items() for name, value in values.items()}


def _interval(differences: Sequence[float], difference: float) -> tuple[float, float]:
    if not differences:
        return difference, difference
    known = np.array(differences, dtype=np.float64)
    known = known[np.isfinite(known)]
    # A slice of few rows is often not drawn at all: what is left says nothing of it.
    if len(known) < len(differences) * _CONFIDENCE:
        return math.nan, math.nan
    ends = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(known, [ends, 1 - ends])
    return float(low), float(high)


def _directions(criteria: Criteria) -> dict[str, int]:
    """Return 1 for metrics of which more is better, -1 for those of which less is."""
    wanted: dict[str, set[str]] = {}
    for bound in criteria.hold_out:
        wanted.setdefault(bound.name, set()).add(bound.comparison)
    known = {
        name: 1 if comparisons == {"at least"} else -1
        for name, comparisons in wanted.items()
        if len(comparisons) == 1
    }
    return known | {criteria.metric: 1, criteria.error: -1}


def _verdict(
    names: tuple[str, str], criteria: Criteria, lines: Sequence[Line], pairs: Floats
) -> str:
    first, second = names
    if np.array_equal(pairs[:, 0], pairs[:, 1]):
        return f"{first} and {second} answer every row alike."
    metric = criteria.metric
    line = next((of for of in lines if not of.part and of.metric == metric), None)
    if line is None or math.isnan(line.difference):
        return f"{metric} is not known of both, so it is not said which is better."
    found = (
        f"{metric} is {number(line.first)} for {first} and {number(line.second)} for {second}, "
        f"a difference of {signed(line.difference)}"
    )
    if math.isnan(line.low):
        return f"{found}. How certain that is cannot be said."
    within = f"{_CONFIDENCE:.0%} interval {signed(line.low)} to {signed(line.high)}"
    if not line.certain:
        return f"{found} ({within}): the interval holds 0, so that may be chance."
    return f"{line.better} is better: {found} ({within}), which is more than chance."


def _told_left_out(
    fetched: Sequence[_Fetched],
    seen: Sequence[npt.NDArray[np.bool_]],
    trained: Sequence[_Trained],
    newer: _Fetched,
) -> list[str]:
    notes = []
    for of, rows, known in zip(fetched, seen, trained, strict=True):
        if known.rows is None:
            notes.append(
                f"Which rows {of.name} was trained on is not known, and some of these may be among "
                f"them: its code does not prepare its data here ({known.problem})."
            )
        elif rows.any():
            notes.append(
                f"{_count(int(rows.sum()), len(rows))} that {newer.name} held out "
                f"{_were(int(rows.sum()))} left out: {of.name} was trained on "
                f"{'it' if rows.sum() == 1 else 'them'}."
            )
    if all(known.rows is not None for known in trained) and not np.any(seen):
        notes.append("Neither was trained on any of these rows; that was checked row by row.")
    return notes


def _told_code(newer: _Fetched) -> list[str]:
    if _is_code_at_hand(newer.code):
        return []
    return [
        f"The rows are prepared, held out and scored by the model's code at hand, which is not "
        f"that of {newer.name} ({newer.manifest.commit[:12]})."
    ]


def _told_requests(first: _Fetched, second: _Fetched) -> list[str]:
    notes = []
    for one, other in ((first, second), (second, first)):
        if more := sorted(set(one.scorer.inputs) - set(other.scorer.inputs)):
            notes.append(f"{one.name} also takes {', '.join(more)}, which {other.name} does not.")
    return notes


def _told_bounds(fetched: _Fetched, rows: pd.DataFrame) -> list[str]:
    """Say which rows a server would refuse to ask this version: their values are out of bounds."""
    outside: dict[str, int] = {}
    for name, field in _properties(fetched.manifest, "request").items():
        if name not in rows.columns or rows[name].dtype == object:
            continue
        low, high = field.get("minimum", -math.inf), field.get("maximum", math.inf)
        count = int(((rows[name] < low) | (rows[name] > high)).sum())
        if count:
            outside[f"{name} {number(low)} to {number(high)}"] = count
    return [
        f"A server would not ask {fetched.name} {_count(count, len(rows))}: outside {bounds}."
        for bounds, count in outside.items()
    ]


def _told_nearer(
    names: tuple[str, str], pairs: Floats, rows: pd.DataFrame, target: str
) -> list[str]:
    if not target:
        return []
    missed = np.abs(pairs - rows[[target]].to_numpy(dtype=np.float64))
    nearer = int((missed[:, 0] < missed[:, 1]).sum()), int((missed[:, 1] < missed[:, 0]).sum())
    if not any(nearer):
        return []
    return [
        f"{names[0]} is nearer to the known {target} on {nearer[0]} rows, {names[1]} on "
        f"{nearer[1]}, of {len(rows)}."
    ]


def _told_directions(criteria: Criteria, lines: Sequence[Line]) -> list[str]:
    known = _directions(criteria)
    without = list(dict.fromkeys(line.metric for line in lines if line.metric not in known))
    if not without:
        return []
    named = " and ".join(filter(None, [", ".join(without[:-1]), without[-1]]))
    return [
        f"No version is called better by {named}: the model's criteria do not say whether more or "
        f"less of {'it' if len(without) == 1 else 'them'} is better."
    ]


def _count(some: int, every: int) -> str:
    return f"{some} of the {every} rows"


def _were(some: int) -> str:
    return "was" if some == 1 else "were"


def _differing(
    answers: Answered, rows: pd.DataFrame, output: str, inputs: Sequence[str]
) -> tuple[Row, ...]:
    """Return the rows on which the answers differ most, the greatest difference first."""
    differences = (answers[1][output] - answers[0][output]).to_numpy(dtype=np.float64)
    greatest = np.argsort(-np.abs(differences), kind="stable")
    others = [name for name in rows.columns if name not in inputs]
    return tuple(
        Row(
            number=int(place),
            asked=_plain(rows.loc[place, list(inputs)]),
            known=_plain(rows.loc[place, others]),
            first=_plain(answers[0].loc[place]),
            second=_plain(answers[1].loc[place]),
            difference=float(differences[place]),
        )
        for place in greatest[:_SHOWN]
        if differences[place] != 0
    )


def _plain(values: pd.Series) -> dict[str, Any]:
    """Return the values that there are as Python's own."""
    return {
        str(name): value.item() if hasattr(value, "item") else value
        for name, value in values.items()
        if not (value == "" or pd.isna(value))
    }


_NOTHING, _ALIKE = 1e-12, 1e-6


@dataclass(frozen=True)
class _Axis:
    """From values to places in a drawing."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and words of round values."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * next(of for of in (1, 2, 2.5, 5, 10) if of * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(self.at(of * step), f"{of * step:.6g}") for of in range(first, last + 1)]


def _axis(values: Sequence[float], start: float, end: float, *, room: float = 0.04) -> _Axis:
    """Return an axis on which finite values have some room; one value alone as well.

    Values that differ by next to nothing are one value: there are no round ones between them.
    """
    low, high = min(values), max(values)
    span, size = high - low, max(abs(low), abs(high))
    if size < _NOTHING:
        span = 1.0
    elif span < _ALIKE * size:
        span = size
    return _Axis(low - room * span, high + room * span, start, end)


def _against(answers: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the drawing of one version's answers against the other's, 400 by 400."""
    known = [pair for pair in answers if all(map(math.isfinite, pair))] or [(0.0, 0.0)]
    every = [value for pair in known for value in pair]
    x, y = _axis(every, 56, 392), _axis(every, 344, 8)
    return {
        "points": [(x.at(one), y.at(other)) for one, other in known],
        "x": x.ticks,
        "y": y.ticks,
    }


def _spread(answers: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the drawing of how many rows differ by how much, 400 by 280."""
    differences = [other - one for one, other in answers if math.isfinite(other - one)] or [0.0]
    counts, edges = np.histogram(differences, bins=_BINS)
    x = _axis([*edges.tolist(), 0.0], 56, 392)
    y = _axis([0.0, float(counts.max())], 224, 8, room=0)
    bars = [
        (x.at(left), y.at(count), round(x.at(right) - x.at(left), 1), round(224 - y.at(count), 1))
        for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
        if count
    ]
    whole = [(place, word) for place, word in y.ticks if "." not in word]
    return {"bars": bars, "x": x.ticks, "y": whole, "zero": x.at(0.0)}


def _errors(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the drawing of both errors by slice: one group of two bars each, 400 wide."""
    known = [line for line in lines if math.isfinite(line.first) and math.isfinite(line.second)]
    values = [value for line in known for value in (line.first, line.second)]
    x = _axis([0.0, *values], 8, 320, room=0)

    def draw(value: float) -> tuple[float, str]:
        return round(x.at(value) - 8, 1), number(value)

    groups = [
        {
            "name": line.part or "all rows",
            "top": 8 + 68 * place,
            "first": draw(line.first),
            "second": draw(line.second),
        }
        for place, line in enumerate(known)
    ]
    return {"groups": groups, "height": 16 + 68 * len(groups)}
