"""How good an estimator of fuel consumption is, and whether it behaves as cars do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import KFold

from roadworthy.models.agreement import Tolerance
from roadworthy.models.contract import (
    Bound,
    Candidate,
    Check,
    Criteria,
    Evaluation,
    Scores,
    Validation,
)
from roadworthy.models.figures import png
from roadworthy.models.fuel.estimator import ANSWER, CONFIDENCE, FuelEstimator, without_optional
from roadworthy.models.fuel.table import COLUMNS, TARGET
from roadworthy.models.fuel.units import consumption, kilograms, pounds
from roadworthy.models.page import Page, Scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Consumption = Callable[[pd.DataFrame], Floats]

FOLDS = 5
REPEATS = 3
_HEAVIER = 1.1
_YEARS = 3
_GRAM = 0.001

criteria = Criteria(
    metric="r2",
    cross_validated=(
        Bound("cv_r2", "at least", 0.885, description="5-fold cross-validated R² on mpg"),
        Bound(
            "cv_r2_weight_and_year",
            "at least",
            0.84,
            description="the same with only weight and year said",
        ),
    ),
    hold_out=(
        Bound("r2", "at least", 0.84, description="R² on mpg"),
        Bound("mae_mpg", "at most", 2.6, "mpg", "mean absolute error"),
        Bound("coverage", "at least", 0.84, description="share of cars inside the interval"),
        Bound("coverage", "at most", 0.98, description="an interval that holds all says nothing"),
    ),
    margin=-0.005,
    error="mae_mpg",
    slice_tolerance=0.10,
    simplicity=0.002,
    latency_ms=1.0,
)

tolerance = dict.fromkeys(ANSWER, Tolerance(relative=1e-5))
_EXAMPLES = (
    {"weight_kg": 1200, "year": 1980},
    {
        "weight_kg": 900,
        "year": 1981,
        "cylinders": 4,
        "displacement": 91,
        "horsepower": 68,
        "acceleration": 16,
        "origin": "japan",
    },
    {
        "weight_kg": 1900,
        "year": 1972,
        "cylinders": 8,
        "displacement": 350,
        "horsepower": 165,
        "acceleration": 12,
        "origin": "usa",
    },
)

_BEHAVIOUR = (
    Bound("heavier_is_thriftier", "at most", 0.02, description="share of cars, 10 % heavier"),
    Bound("heavier_saves_at_most", "at most", 0.02, description="greatest saving, 10 % heavier"),
    Bound("newer_is_thirstier", "at most", 0.10, description="share of cars, 3 years newer"),
    Bound("newer_costs_at_most", "at most", 0.05, description="greatest increase, 3 years newer"),
    Bound(
        "kilograms_and_pounds_differ",
        "at most",
        1e-4,
        description="answers to a weight in pounds and to the same in kilograms, to the gram",
    ),
)


def cross_validate(candidate: Candidate, train: pd.DataFrame) -> Validation:
    """Return R² on mpg by repeated 5-fold cross-validation, and the checks on unseen rows.

    R² is of all out-of-fold answers of a repetition together, and the mean over repetitions. The
    checks are of every car of every repetition together, each asked of a model that never saw it.
    """
    point = candidate.estimator.point
    mpg = train[TARGET].to_numpy(dtype=np.float64)
    inputs = train[list(COLUMNS)]
    whole, reduced, changes = [], [], []
    for repeat in range(REPEATS):
        answers, answers_reduced = np.empty_like(mpg), np.empty_like(mpg)
        folds = KFold(n_splits=FOLDS, shuffle=True, random_state=repeat)
        for fitted_on, unseen in folds.split(inputs):
            model = clone(point).fit(inputs.iloc[fitted_on], np.log(mpg[fitted_on]))
            rows = inputs.iloc[unseen]
            answers[unseen] = np.exp(model.predict(rows))
            answers_reduced[unseen] = np.exp(model.predict(without_optional(rows)))
            changes.append(_changes(_of_point(model), rows))
        whole.append(r2_score(mpg, answers))
        reduced.append(r2_score(mpg, answers_reduced))
    metrics = {
        "cv_r2": float(np.mean(whole)),
        "cv_r2_deviation": float(np.std(whole)),
        "cv_r2_weight_and_year": float(np.mean(reduced)),
    }
    title = f"{candidate.name}: {len(train)} cars, each by a model that never saw it"
    figure = _actual_against_predicted(title, consumption(answers), train)
    return Validation(metrics, _checks(np.concatenate(changes)), {"cross-validation": png(figure)})


def score(answers: pd.DataFrame, test: pd.DataFrame) -> Scores:
    """Return R², errors in mpg and l/100 km and the interval's coverage, in all and by origin."""
    slices = {
        f"origin={origin}": _metrics(answers.loc[rows.index], rows)
        for origin, rows in test.groupby("origin")
    }
    return Scores(_metrics(answers, test), slices)


def evaluate(estimator: FuelEstimator, test: pd.DataFrame) -> Evaluation:
    """Return scores, behavioural checks and figures on the hold-out."""
    answers = estimator.predict(test[list(COLUMNS)])
    reduced = estimator.predict(without_optional(test[list(COLUMNS)]))
    scores = score(answers, test)
    metrics = scores.metrics | {
        "r2_weight_and_year": float(r2_score(test[TARGET], reduced["mpg"])),
        "coverage_weight_and_year": _coverage(reduced, test),
    }
    checks = behaviour(estimator.predict, test)
    title = f"Hold-out: {len(test)} cars, with the {CONFIDENCE:.0%} interval"
    spread = answers[["l_per_100km_low", "l_per_100km_high"]].to_numpy().T
    litres = answers["l_per_100km"].to_numpy()
    figures = {
        "actual-against-predicted": png(_actual_against_predicted(title, litres, test, spread)),
        "residuals": png(_residuals(answers, test)),
    }
    return Evaluation(metrics, scores.slices, checks, figures)


def behaviour(
    answer: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame
) -> tuple[Check, ...]:
    """Return the behavioural checks of whatever answers a frame of requests."""
    return behave(lambda asked: answer(asked)["l_per_100km"].to_numpy(dtype=np.float64), rows)


def behave(predict: Consumption, rows: pd.DataFrame) -> tuple[Check, ...]:
    """Return the behavioural checks, all else equal: weight, year and units of these cars.

    Parameters
    ----------
    predict
        From the request's columns to litres per 100 km.
    rows
        Prepared cars.
    """
    return _checks(_changes(predict, rows))


def page(frame: pd.DataFrame) -> Page:
    """Return some cars to start from, and every known car by weight, consumption and year."""
    points = {
        "weight_kg": frame["weight_kg"].round(1).tolist(),
        "l_per_100km": consumption(frame[TARGET].to_numpy(dtype=np.float64)).round(2).tolist(),
        "year": frame["year"].tolist(),
    }
    return Page(_EXAMPLES, Scatter("weight_kg", "l_per_100km", "year", points))


def _changes(predict: Consumption, rows: pd.DataFrame) -> Floats:
    """Return by which fraction each answer changes: heavier, newer, weighed in pounds [N, 3]."""
    inputs = rows[list(COLUMNS)]
    now = predict(inputs)
    heavier = predict(inputs.assign(weight_kg=inputs["weight_kg"] * _HEAVIER)) / now - 1
    newer = predict(inputs.assign(year=inputs["year"] + _YEARS)) / now - 1
    typed = (kilograms(pounds(inputs["weight_kg"].to_numpy())) / _GRAM).round() * _GRAM
    in_pounds = predict(inputs.assign(weight_kg=typed)) / now - 1
    return np.column_stack([heavier, newer, in_pounds])


def _checks(changes: Floats) -> tuple[Check, ...]:
    heavier, newer, in_pounds = changes.T
    values = (
        np.mean(heavier < 0),
        max(0.0, -heavier.min()),
        np.mean(newer > 0),
        max(0.0, newer.max()),
        np.abs(in_pounds).max(),
    )
    return tuple(bound.check(float(value)) for bound, value in zip(_BEHAVIOUR, values, strict=True))


def _of_point(model: object) -> Consumption:
    def predict(rows: pd.DataFrame) -> Floats:
        return consumption(np.exp(model.predict(rows)))  # type: ignore[attr-defined]

    return predict


def _metrics(answers: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    litres = consumption(rows[TARGET].to_numpy(dtype=np.float64))
    return {
        "r2": float(r2_score(rows[TARGET], answers["mpg"])) if len(rows) > 1 else float("nan"),
        "mae_mpg": float(mean_absolute_error(rows[TARGET], answers["mpg"])),
        "rmse_mpg": float(root_mean_squared_error(rows[TARGET], answers["mpg"])),
        "mae_l_per_100km": float(mean_absolute_error(litres, answers["l_per_100km"])),
        "coverage": _coverage(answers, rows),
        "rows": float(len(rows)),
    }


def _coverage(answers: pd.DataFrame, rows: pd.DataFrame) -> float:
    inside = rows[TARGET].between(answers["mpg_low"], answers["mpg_high"])
    return float(inside.mean())


def _actual_against_predicted(
    title: str, predicted: Floats, rows: pd.DataFrame, spread: Floats | None = None
) -> Figure:
    """Draw l/100 km; ``spread`` holds both ends of each interval [2, N]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    actual = consumption(rows[TARGET].to_numpy(dtype=np.float64))
    bars = None if spread is None else [predicted - spread[0], spread[1] - predicted]
    axes.errorbar(actual, predicted, yerr=bars, fmt="o", ms=4, lw=0.6, alpha=0.7)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, color="0.3", lw=1)
    axes.set(xlabel="actual, l/100 km", ylabel="predicted, l/100 km", title=title)
    return figure


def _residuals(answers: pd.DataFrame, test: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    actual = consumption(test[TARGET].to_numpy(dtype=np.float64))
    residual = answers["l_per_100km"].to_numpy() - actual
    for origin in sorted(test["origin"].unique()):
        rows = (test["origin"] == origin).to_numpy()
        axes.scatter(actual[rows], residual[rows], s=16, label=origin)
    axes.axhline(0, color="0.3", lw=1)
    axes.set(xlabel="actual, l/100 km", ylabel="predicted - actual, l/100 km", title="Residuals")
    axes.legend(title="origin")
    return figure
