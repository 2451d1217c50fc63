"""How good a detector is by the labelled events, and whether it behaves as one must."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from roadworthy.models import splits
from roadworthy.models.agreement import Tolerance
from roadworthy.models.contract import (
    Bound,
    Candidate,
    Check,
    Criteria,
    Disagreements,
    Evaluation,
    Scores,
    Validation,
)
from roadworthy.models.figures import png, svg
from roadworthy.models.outliers.detectors import Detector, train
from roadworthy.models.outliers.metrics import Events, by_event, spans, vus_pr
from roadworthy.models.outliers.table import CONTEXT, STEP_S, VALUES_A_DAY
from roadworthy.models.page import Page, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Answerer = Callable[[pd.DataFrame], pd.DataFrame]

FOLDS = 4
INPUTS = ("values", "timestamps", "step_s")
_SPIKE = 10.0
_NOON = CONTEXT + VALUES_A_DAY // 2

criteria = Criteria(
    metric="vus_pr",
    cross_validated=(
        Bound("cv_vus_pr", "at least", 0.6, description="VUS-PR, walking forward in time"),
    ),
    hold_out=(
        Bound(
            "vus_pr",
            "at least",
            0.6,
            description="volume under the surface of precision and recall",
        ),
        Bound("recall", "at least", 0.6, description="share of events that are found"),
        Bound("precision", "at least", 0.5, description="share of alarms that are of an event"),
        Bound("false_alarms_a_day", "at most", 0.4, "a day", "alarms of no event"),
    ),
    margin=-0.02,
    error="missed",
    slice_tolerance=1.0,
    simplicity=0.01,
    latency_ms=5.0,
)
# Where a score is near zero, rounding alone is left.
tolerance = {"score": Tolerance(relative=1e-6, absolute=1e-6)}

_BEHAVIOUR = (
    Bound("future_changes_score", "at most", 1e-6, "sd", "another tomorrow, same today"),
    Bound("stream_differs", "at most", 1e-6, "sd", "a value with its memory alone"),
    Bound("spikes_missed", "at most", 0.1, description=f"of {_SPIKE:.0f} °C, one in each day"),
)


def cross_validate(candidate: Candidate, train_rows: pd.DataFrame) -> Validation:
    """Return the metrics of each day by a detector that is fitted to earlier days only."""
    found, tested = [], []
    times = train_rows["time_s"].to_list()
    for fitted_on, tested_on in splits.walk_forward(times, folds=FOLDS):
        unseen = train_rows.iloc[tested_on]
        found.append(train(candidate, train_rows.iloc[fitted_on]).predict(unseen))
        tested.append(unseen)
    answers, rows = pd.concat(found), pd.concat(tested)
    metrics = score(answers, rows).metrics
    title = f"{candidate.name}: {len(rows)} days, each by a detector that never saw it"
    figure = png(_drawn(title, {"outlier": _own(answers["outlier"]).astype(bool)}, rows))
    return Validation(
        {f"cv_{name}": value for name, value in metrics.items()}, (), {"walk-forward": figure}
    )


def score(answers: pd.DataFrame, test: pd.DataFrame) -> Scores:
    """Return the metrics of the days' own values, in all and for each kind of outlier.

    ``missed`` of a slice is ``(missed + 1) / (events + 2)``, Laplace's rule of succession: of a
    few events one missed is no proof. ``delay_hours`` is left out where nothing was found.
    """
    kinds, alarms = _own(test["truth"]), _own(answers["outlier"])
    truth = kinds != ""
    found = by_event(truth, alarms)
    metrics = {
        "vus_pr": vus_pr(truth, _own(answers["score"]).astype(np.float64)),
        "recall": found.recall,
        "precision": found.precision,
        "f1": found.f1,
        "missed": 1 - found.recall,
        "false_alarms_a_day": found.false_alarms / max(len(test), 1),
        "events": float(len(found.delays)),
    }
    slices = {
        f"kind={kind}": _of_kind(by_event(kinds == kind, alarms))
        for kind in sorted(set(kinds) - {""})
    }
    return Scores(metrics | _delay(found), slices)


def evaluate(estimator: Detector, test: pd.DataFrame) -> Evaluation:
    """Return scores, behavioural checks and figures on the hold-out."""
    answers = estimator.predict(test[list(INPUTS)])
    found = score(answers, test)
    title = f"Hold-out: {len(test)} days, the labelled outliers shaded"
    figures = {
        "series": png(_drawn(title, {"outlier": _own(answers["outlier"]).astype(bool)}, test))
    }
    return Evaluation(found.metrics, found.slices, behaviour(estimator.predict, test), figures)


def allowances(detector: Detector, answers: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Return what the bound of each allowance of false alarms finds on other days, a row for each.

    The columns are ``allowed`` and ``false_alarms`` a day, ``bound``, ``recall`` and
    ``delay_hours``.
    """
    scores, truth = _own(answers["score"]).astype(np.float64), _own(test["truth"]) != ""
    rows = []
    for allowed, bound in detector.bounds_.items():
        found = by_event(truth, scores > bound)
        hours = found.delay * STEP_S / 3600
        rows.append((allowed, bound, found.false_alarms / len(test), found.recall, hours))
    columns = ["allowed", "bound", "false_alarms", "recall", "delay_hours"]
    return pd.DataFrame(rows, columns=columns)


def disagreements(answers: Mapping[str, pd.DataFrame], rows: pd.DataFrame) -> Disagreements:
    """Return the series with the verdicts of each version, and the values they disagree on."""
    versions = {name: _own(found["outlier"]).astype(bool) for name, found in answers.items()}
    named = pd.DataFrame(versions)
    table = pd.DataFrame(
        {
            "time": _times(rows).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "value": _own(rows["values"]).astype(np.float64),
            "kind": _own(rows["truth"]),
        }
    )
    for name, found in answers.items():
        table[f"{name} outlier"] = versions[name]
        table[f"{name} score"] = _own(found["score"]).astype(np.float64).round(3)
        table[f"{name} bound"] = _own(found["bound"]).astype(np.float64).round(3)
    differ = named.nunique(axis=1) > 1
    title = f"{len(rows)} days, the labelled outliers shaded"
    return Disagreements(svg(_drawn(title, versions, rows)), table[differ].reset_index(drop=True))


def behaviour(answer: Answerer, rows: pd.DataFrame) -> tuple[Check, ...]:
    """Return the behavioural checks of whatever answers a frame of requests."""
    values = np.stack(list(rows["values"]))
    now = np.stack(list(_asked(answer, values)["score"]))
    future = values.copy()
    future[:, _NOON:] += _SPIKE
    later = np.stack(list(_asked(answer, future)["score"]))
    short = np.stack(list(_asked(answer, values[:, -(CONTEXT + 1) :])["score"]))
    spiked = values.copy()
    spiked[:, _NOON] += _SPIKE
    marked = np.stack(list(_asked(answer, spiked)["outlier"]))[:, _NOON]
    found = (
        np.abs(later - now)[:, :_NOON].max(),
        np.abs(short - now[:, -(CONTEXT + 1) :])[:, -1].max(),
        1 - np.mean(marked),
    )
    return tuple(bound.check(float(value)) for bound, value in zip(_BEHAVIOUR, found, strict=True))


def page(frame: pd.DataFrame) -> Page:
    """Return two windows to start from, one with an outlier and one without."""
    marked = frame["truth"].map(lambda kinds: bool((kinds[CONTEXT:] != "").any()))
    rows = pd.concat([frame[of].iloc[-1:] for of in (marked, ~marked)])
    examples = [
        {"values": np.round(values, 2).tolist(), "step_s": STEP_S} for values in rows["values"]
    ]
    truth = [(kinds != "").tolist() for kinds in rows["truth"]]
    return Page(examples, Series("values", "outlier", "score", "bound", truth))


def _asked(answer: Answerer, values: Floats) -> pd.DataFrame:
    columns = {
        "values": list(values),
        "timestamps": [np.empty(0) for _ in values],
        "step_s": float(STEP_S),
    }
    return answer(pd.DataFrame(columns))


def _own(column: Iterable[Any]) -> npt.NDArray[Any]:
    """Return the last values of every row, without their context: those of its own day."""
    return np.concatenate([np.asarray(cell)[-VALUES_A_DAY:] for cell in column])


def _of_kind(found: Events) -> dict[str, float]:
    events = len(found.delays)
    missed = int(np.isnan(found.delays).sum())
    known = {"recall": found.recall, "missed": (missed + 1) / (events + 2), "events": float(events)}
    return known | _delay(found)


def _delay(found: Events) -> dict[str, float]:
    hours = found.delay * STEP_S / 3600
    return {} if np.isnan(hours) else {"delay_hours": hours}


def _times(rows: pd.DataFrame) -> pd.DatetimeIndex:
    """Return when each of the days' own values was."""
    offsets = STEP_S * np.arange(VALUES_A_DAY)
    return pd.to_datetime(np.concatenate([time + offsets for time in rows["time_s"]]), unit="s")


def _drawn(title: str, verdicts: Mapping[str, npt.NDArray[np.bool_]], rows: pd.DataFrame) -> Figure:
    """Draw the series, its labels, and for each name its outliers [n] with a mark of its own."""
    from matplotlib.figure import Figure

    times, values = _times(rows), _own(rows["values"]).astype(np.float64)
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(times, values, lw=0.8, color="0.3")
    for start, stop in spans(_own(rows["truth"]) != ""):
        axes.axvspan(times[start], times[stop - 1], color="tab:orange", alpha=0.3)
    for (name, marks), style in zip(verdicts.items(), ("rx", "b|", "g."), strict=False):
        axes.plot(times[marks], values[marks], style, ms=7, label=f"{name}: {marks.sum()} values")
    axes.set(ylabel="°C", title=title)
    axes.legend(loc="upper left")
    return figure


def _allowance_figure(table: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    recall, delay = figure.subplots(1, 2)
    recall.plot(table["allowed"], table["recall"], "o-", label="recall")
    recall.plot(table["allowed"], table["false_alarms"], "o-", label="false alarms a day")
    recall.legend()
    delay.plot(table["allowed"], table["delay_hours"], "o-")
    delay.set(ylabel="mean delay, h")
    for axes in (recall, delay):
        axes.set(xlabel="allowed false alarms a day", ylim=(0, None))
    return figure
