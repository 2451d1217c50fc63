"""How good the calls are, against the base rate, and whether they behave."""

from __future__ import annotations

from collections.abc import Callable
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
    Evaluation,
    Scores,
    Validation,
)
from roadworthy.models.direction.estimator import train
from roadworthy.models.figures import png
from roadworthy.models.intervals import CONFIDENCE, mean_interval, share_interval
from roadworthy.models.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

FOLDS = 5
GAP = 1
"""How many days are left out between training and evaluation: an outcome is the next day's."""
_BINS = 5
_SPLIT = 4.0
_EXAMPLES = 3
RECORDED = 22
"""How many past calls the page lists: about a month."""

criteria = Criteria(
    metric="brier_skill",
    cross_validated=(
        Bound(
            "cv_brier_skill_high",
            "at least",
            0.0,
            description="walking forward, it is not worse than the base rate by more than chance",
        ),
    ),
    hold_out=(
        Bound(
            "brier_skill_high",
            "at least",
            0.0,
            description="upper end of the interval of the skill against the base rate",
        ),
        Bound(
            "accuracy_gain_high",
            "at least",
            0.0,
            description="upper end of the interval of accuracy less that of always UP",
        ),
        Bound(
            "calibration_z",
            "at most",
            3.0,
            description="Spiegelhalter's test of calibration, standard deviations",
        ),
    ),
    margin=0.001,
    error="brier",
    slice_tolerance=0.10,
    simplicity=0.001,
    latency_ms=5.0,
)

tolerance = {"probability_up": Tolerance(relative=1e-5)}

_BEHAVIOUR = (
    Bound(
        "split_changes_probability",
        "at most",
        1e-9,
        description="greatest change where all closes are divided by 4, as after a 4:1 split",
    ),
    Bound(
        "older_closes_change_probability",
        "at most",
        1e-9,
        description="greatest change where only the last closes that it needs are sent",
    ),
)


def cross_validate(candidate: Candidate, train_rows: pd.DataFrame) -> Validation:
    """Return the scores of walking forward: each fold by a model of earlier days, with a gap."""
    answers, unseen, changes = [], [], []
    days = train_rows["trading_day"].tolist()
    for before, after in splits.walk_forward(days, folds=FOLDS, gap=GAP):
        fitted, rows = train(candidate, train_rows.iloc[before]), train_rows.iloc[after]
        answers.append(fitted.predict(rows))
        unseen.append(rows)
        changes.append(_changes(fitted.predict, rows))
    found, rows = pd.concat(answers), pd.concat(unseen)
    metrics = {f"cv_{name}": value for name, value in _metrics(found, rows).items()}
    title = f"{candidate.name}: {len(rows)} days, each by a model of earlier days"
    figures = {"cross-validation": png(_reliability(title, found, rows))}
    return Validation(metrics, _checks(np.max(changes, axis=0)), figures)


def score(answers: pd.DataFrame, test: pd.DataFrame) -> Scores:
    """Return accuracy, Brier score and skill with their intervals, in all and by year."""
    slices = {
        f"year={year}": {"brier": float(_losses(answers.loc[rows.index], rows).mean())}
        for year, rows in test.groupby(test["trading_day"].str[:4])
    }
    return Scores(_metrics(answers, test), slices)


def losses(answers: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Return the squared error of each probability; less is better."""
    return pd.Series(_losses(answers, test), index=test.index)


def behaviour(
    answer: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame
) -> tuple[Check, ...]:
    """Return the checks that neither a split nor older closes change an answer."""
    return _checks(_changes(answer, rows))


def evaluate(estimator: Any, test: pd.DataFrame) -> Evaluation:
    """Return scores, behavioural checks, figures and a plain word on the hold-out."""
    answers = estimator.predict(test[["last_closes"]])
    scores = score(answers, test)
    figures = {
        "calibration": png(_reliability(f"Hold-out: {len(test)} days", answers, test)),
        "skill": png(_cumulative_skill(answers, test)),
    }
    checks = behaviour(estimator.predict, test)
    told = note(scores.metrics), record(answers, test)
    return Evaluation(scores.metrics, scores.slices, checks, figures, *told)


def record(answers: pd.DataFrame, test: pd.DataFrame) -> tuple[dict[str, float | str], ...]:
    """Return the calls of the last month and what came, the latest first."""
    latest = test.join(answers["next_close"].rename("call")).join(answers["probability_up"])
    return tuple(
        {
            "Day": str(row["trading_day"]),
            "Close": round(float(row["last_closes"][-1]), 2),
            "Probability of UP": round(float(row["probability_up"]), 4),
            "Call": str(row["call"]),
            "Next close": str(row["next_close"]),
        }
        for row in latest.tail(RECORDED).to_dict("records")[::-1]
    )


def note(metrics: dict[str, float]) -> str:
    """Return in words what the figures mean."""
    low, high = metrics["brier_skill_low"], metrics["brier_skill_high"]
    chance = (
        "the interval holds zero, so this is no better than chance"
        if low <= 0 <= high
        else "the interval does not hold zero, but the skill is small"
    )
    return (
        f"This model is near chance; do not trade on it. On {metrics['days']:.0f} days that "
        f"it never saw, {metrics['accuracy']:.1%} of its calls were right ({CONFIDENCE:.0%} "
        f"interval {metrics['accuracy_low']:.1%} to {metrics['accuracy_high']:.1%}), where always "
        f"UP was right on {metrics['always_up_accuracy']:.1%}. Its Brier skill against the base "
        f"rate is {metrics['brier_skill']:.4f} ({low:.4f} to {high:.4f}): {chance}."
    )


def page(frame: pd.DataFrame) -> Page:
    """Return the last months as examples."""
    chosen = frame["last_closes"].iloc[:: -len(frame["last_closes"].iloc[0])][:_EXAMPLES]
    return Page([{"last_closes": np.round(closes, 2).tolist()} for closes in chosen])


def _up(rows: pd.DataFrame) -> Floats:
    return np.asarray(rows["next_close"] == "UP", dtype=np.float64)


def _losses(answers: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    return (answers["probability_up"].to_numpy(dtype=np.float64) - _up(rows)) ** 2


def _reference(rows: pd.DataFrame) -> Floats:
    return (rows["base_rate"].to_numpy(dtype=np.float64) - _up(rows)) ** 2


def _metrics(answers: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    """Return every metric; a skill is ``1 - brier / brier of the base rate known on each day``."""
    up, right = _up(rows), (answers["next_close"] == rows["next_close"]).to_numpy()
    found, reference = _losses(answers, rows), _reference(rows)
    accuracy, skill = share_interval(right), mean_interval(reference - found)
    gain = mean_interval(right - up)
    return {
        "brier_skill": float(1 - found.mean() / reference.mean()),
        "brier_skill_low": skill[0] / float(reference.mean()),
        "brier_skill_high": skill[1] / float(reference.mean()),
        "brier": float(found.mean()),
        "accuracy": float(right.mean()),
        "accuracy_low": accuracy[0],
        "accuracy_high": accuracy[1],
        "always_up_accuracy": float(up.mean()),
        "accuracy_gain": float((right - up).mean()),
        "accuracy_gain_high": gain[1],
        "calibration_error": _calibration_error(answers, rows),
        "calibration_z": _calibration_z(answers, rows),
        "days": float(len(rows)),
    }


def _calibration_z(answers: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Return the absolute z of Spiegelhalter (1986), "Probabilistic prediction in patient
    management and clinical trials", Statistics in Medicine 5: how far the Brier score is from what
    calibrated probabilities give. It says the same for 5 days as for 500.
    """  # noqa: D205
    share, up = answers["probability_up"].to_numpy(dtype=np.float64), _up(rows)
    apart = float(((up - share) * (1 - 2 * share)).sum())
    expected = float(((1 - 2 * share) ** 2 * share * (1 - share)).sum())
    if expected == 0:  # 0.5 throughout, or a certainty that was right or wrong
        return 0.0 if apart == 0 else float("inf")
    return float(abs(apart) / np.sqrt(expected))


def _bins(answers: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean probability, the share of UP and the number of days of each fifth."""
    share = answers["probability_up"].to_numpy(dtype=np.float64)
    place = pd.Series(share).rank(method="first", pct=True).mul(_BINS).apply(np.ceil)
    table = pd.DataFrame({"told": share, "came": _up(rows), "bin": place})
    return table.groupby("bin").agg(
        told=("told", "mean"), came=("came", "mean"), n=("told", "size")
    )


def _calibration_error(answers: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Return the expected calibration error over fifths of the days."""
    bins = _bins(answers, rows)
    return float(((bins["told"] - bins["came"]).abs() * bins["n"]).sum() / bins["n"].sum())


def _changes(answer: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame) -> Floats:
    closes = rows["last_closes"]

    def probability(told: list[Any]) -> Floats:
        asked = pd.DataFrame({"last_closes": told}, index=rows.index)
        return answer(asked)["probability_up"].to_numpy(dtype=np.float64)

    now = probability(list(closes))
    split = probability([np.asarray(one) / _SPLIT for one in closes])
    short = probability([np.asarray(one)[-5:] for one in closes])
    return np.array([np.abs(split - now).max(), np.abs(short - now).max()])


def _checks(changes: Floats) -> tuple[Check, ...]:
    return tuple(
        bound.check(float(change)) for bound, change in zip(_BEHAVIOUR, changes, strict=True)
    )


def _reliability(title: str, answers: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    bins = _bins(answers, rows)
    error = 1.96 * np.sqrt(bins["came"] * (1 - bins["came"]) / bins["n"])
    axes.errorbar(bins["told"], bins["came"], yerr=error, fmt="o")
    axes.plot([0.3, 0.8], [0.3, 0.8], color="0.3", lw=1)
    axes.axhline(_up(rows).mean(), color="0.3", lw=1, ls=":")
    axes.set(xlabel="probability of UP", ylabel="share of days that closed UP", title=title)
    return figure


def _cumulative_skill(answers: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    gained = _reference(rows) - _losses(answers, rows)
    days = pd.to_datetime(rows["trading_day"])
    axes.plot(days, gained.cumsum())
    spread = 1.96 * gained.std() * np.sqrt(np.arange(1, len(gained) + 1))
    axes.fill_between(days, -spread, spread, alpha=0.15, label="chance, 95 %")
    axes.axhline(0, color="0.3", lw=1)
    axes.set(ylabel="Brier score gained on the base rate", title="Skill over the hold-out")
    axes.legend(loc="upper left")
    return figure
