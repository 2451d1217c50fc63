"""Live through known data day by day: what would have been trained, compared and promoted.

The clock is the data's: a tick is the next date that the data has. Nothing of production is
touched: candidates are MLflow runs of an experiment of their own, and champions are kept here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from roadworthy.bundles.scoring import Scorer
from roadworthy.core.errors import RoadworthyError
from roadworthy.models import contract
from roadworthy.models.contract import Candidate, Model, TimeOrdered, Validation, Windows
from roadworthy.models.figures import png
from roadworthy.models.intervals import mean_interval
from roadworthy.steps.gate import score, weigh
from roadworthy.tracking.registry import Registry
from roadworthy.training.gate import Verdict
from roadworthy.training.selection import choose, cross_validated

_FEWEST = 2  # of one row, no interval is known
_DIGITS = 9
_NO_WIDTH = 1e-12


class SimulationError(RoadworthyError):
    """A model or its data cannot be simulated."""


@dataclass(frozen=True)
class Tried:
    """A candidate that was trained on a day, and what the evaluation window shows of it."""

    candidate: str
    training_window: int
    parameters: dict[str, float | str]
    metrics: dict[str, float]

    @property
    def name(self) -> str:
        """The candidate with its window."""
        return f"{self.candidate}, {self.training_window} days"


@dataclass(frozen=True)
class Promotion:
    """Why a challenger became the champion.

    Parameters
    ----------
    reason
        ``bootstrap`` where there was no champion.
    interval
        The 95 % interval of its loss less the champion's, on the same rows in pairs.
    """

    reason: Literal["bootstrap", "better_than_champion"]
    interval: tuple[float, float] | None

    @property
    def holds_zero(self) -> bool | None:
        """Whether the difference may be chance; None without a champion."""
        if self.interval is None:
            return None
        low, high = self.interval
        # Of equal differences, the width says nothing of chance.
        return not (low > 0 or high < 0) or high - low < _NO_WIDTH


@dataclass(frozen=True)
class Day:
    """A day of the simulation.

    Parameters
    ----------
    time
        The date of the clock: only what was known then is used.
    evaluation
        The first and the last date that is evaluated on.
    tried
        All candidates with all windows.
    challenger
        The best of them.
    champion
        The metrics of the champion of this morning on the same rows.
    loss
        The loss of that champion on the rows that became known today, which nothing was chosen by.
    """

    time: str
    evaluation: tuple[str, str]
    tried: tuple[Tried, ...]
    challenger: Tried
    champion: Tried | None
    loss: float
    verdict: Verdict
    promotion: Promotion | None


@dataclass(frozen=True)
class _Champion:
    tried: Tried
    scorer: Scorer


def load(model: str) -> Model:
    """Return a model that can be simulated.

    Raises
    ------
    SimulationError
        It lacks what the contract requires for it.
    """
    chosen = contract.load(model)
    if lacking := [part for part in ("time", "windows", "losses") if not hasattr(chosen, part)]:
        raise SimulationError(
            f"{model} cannot be simulated, it has no {', '.join(lacking)}. Add them: see "
            f"{TimeOrdered.__module__}.{TimeOrdered.__name__}."
        )
    return chosen


def simulate(model: Model, raw: pd.DataFrame, windows: Windows, days: int) -> Iterator[Day]:
    """Yield each day: ingest, train every candidate, evaluate forward, promote by the gate.

    Parameters
    ----------
    raw
        All raw data, validated. Of it, a day sees the rows up to its date.
    days
        How many dates to go through at most.

    Raises
    ------
    SimulationError
        A window has too few rows.
    """
    ordered: Any = model
    dates = raw[ordered.time].astype(str)
    begin = _before(dates.max(), windows.anchor_offset)
    champion: _Champion | None = None
    seen = ""
    for time in sorted(dates[dates >= begin].unique())[:days]:
        frame = model.prepare(raw[dates <= time].reset_index(drop=True)).frame
        known = frame[ordered.time].astype(str)
        rows = _evaluated(frame, known, time, windows)
        fitted = _fitted(model, frame, known, rows, windows)
        names = {tried.name: validation for tried, _, validation in fitted}
        best = choose(names, model.criteria)
        challenger, estimator, validation = next(one for one in fitted if one[0].name == best)
        scorer = Scorer(model.export(estimator).SerializeToString())
        scores = model.score(score(champion.scorer, rows), rows) if champion else None
        judged = weigh(
            model,
            scorer,
            estimator,
            metrics=cross_validated(validation),
            held_out=rows,
            champion=scores,
        )
        promotion = None
        if judged.verdict.passed:
            pairs = _interval(ordered, champion.scorer, scorer, rows) if champion else None
            promotion = Promotion("better_than_champion" if champion else "bootstrap", pairs)
        new = frame[known > seen] if seen else frame.tail(1)
        yield Day(
            time=time,
            evaluation=(str(rows[ordered.time].min()), str(rows[ordered.time].max())),
            tried=tuple(tried for tried, _, _ in fitted),
            challenger=challenger,
            champion=replace(champion.tried, metrics=scores.metrics)
            if champion and scores
            else None,
            loss=float(ordered.losses(score(champion.scorer, new), new).mean())
            if champion and len(new)
            else float("nan"),
            verdict=judged.verdict,
            promotion=promotion,
        )
        if promotion:
            champion = _Champion(challenger, scorer)
        seen = str(known.max())


def record(registry: Registry, model: str, name: str, day: Day, windows: Windows) -> str:
    """Record each candidate of a day as an MLflow run; return that of the challenger.

    Parameters
    ----------
    name
        The simulation's name: the same again is recorded once.
    """
    challenger = ""
    for tried in day.tried:
        is_challenger = tried is day.challenger
        tags = {
            "simulation": name,
            "anchor_time": day.time,
            "training_window_days": str(tried.training_window),
            "evaluation_window_days": str(windows.evaluation),
            "chosen": str(is_challenger),
        }
        if is_challenger:
            tags |= {"gate": "passed" if day.verdict.passed else "failed"}
            tags |= {"gate_reasons": "; ".join(day.verdict.reasons)} if day.verdict.reasons else {}
            if day.promotion:
                tags |= {
                    "promotion": day.promotion.reason,
                    "paired_interval_holds_zero": str(day.promotion.holds_zero),
                }
        run = registry.log_candidate(
            f"{model}-simulation",
            name=tried.name,
            made_of=f"{name}/{day.time}",
            parameters={**tried.parameters, "training_window_days": tried.training_window},
            metrics={key: value for key, value in tried.metrics.items() if np.isfinite(value)},
            tags=tags,
            figures={},
        )
        challenger = run if is_challenger else challenger
    return challenger


def entry(model: str, day: Day, windows: Windows, run: str) -> str:
    """Return the line of the ledger for a day with a promotion, as JSON.

    Two simulations of the same days give the same lines but for ``run_id``.
    """
    promotion = day.promotion
    assert promotion is not None  # noqa: S101 - a day without one has no entry
    told = {
        "model": model,
        "anchor_time": day.time,
        "reason": promotion.reason,
        "candidate": day.challenger.candidate,
        "training_window_days": day.challenger.training_window,
        "evaluation_window_days": windows.evaluation,
        "evaluated": list(day.evaluation),
        "metrics": _rounded(day.challenger.metrics),
        "champion": day.champion.name if day.champion else None,
        "champion_metrics": _rounded(day.champion.metrics) if day.champion else None,
        "paired_interval": [round(end, _DIGITS) for end in promotion.interval]
        if promotion.interval
        else None,
        "paired_interval_holds_zero": promotion.holds_zero,
        "evidence": f"passed all {len(day.verdict.checks)} checks of the gate",
        "run_id": run,
    }
    return json.dumps(told)


def line(day: Day, metric: str) -> str:
    """Return a day for the terminal."""
    told = f"{day.time}  {day.challenger.name}: {metric} {day.challenger.metrics[metric]:.3f}"
    if day.champion:
        told += f", champion ({day.champion.name}) {day.champion.metrics[metric]:.3f}"
    if not day.promotion:
        return f"{told}  not promoted"
    chance = ", may be chance" if day.promotion.holds_zero else ""
    return f"{told}  {day.promotion.reason}{chance}"


def figure(model: Model, days: Sequence[Day]) -> bytes:
    """Return champion, challengers and promotions over time as a PNG file."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 6), layout="constrained")
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    metric = model.criteria.metric
    times = pd.to_datetime([day.time for day in days])
    for time, day in zip(times, days, strict=True):
        values = [tried.metrics[metric] for tried in day.tried]
        upper.scatter([time] * len(values), values, s=8, color="0.75", zorder=1)
        if day.promotion:
            chance = day.promotion.holds_zero is not False
            for axes in (upper, lower):
                axes.axvline(time, color="tab:green", lw=1, ls=":" if chance else "-")
    named = [day.champion.metrics[metric] if day.champion else np.nan for day in days]
    upper.plot(times, [day.challenger.metrics[metric] for day in days], "o", ms=4, label="best")
    upper.plot(times, named, label="champion", color="tab:red")
    upper.set(ylabel=f"{metric}, evaluation window", title=f"{model.title}: {len(days)} days")
    upper.legend(loc="lower left")
    losses = pd.Series([day.loss for day in days], dtype=float)
    lower.plot(times, losses.expanding().mean(), color="tab:red")
    lower.set(ylabel="champion's mean loss,\nnew rows only")
    lower.set_xlabel("green: a promotion, dotted where the paired interval holds zero")
    return png(drawn)


def _evaluated(frame: pd.DataFrame, known: pd.Series, time: str, windows: Windows) -> pd.DataFrame:
    rows = frame[known > _before(time, windows.evaluation)]
    if len(rows) < _FEWEST:
        raise SimulationError(
            f"The {windows.evaluation} days before {time} have {len(rows)} rows to evaluate on, "
            f"{_FEWEST} are required. Choose a longer evaluation window."
        )
    return rows


def _fitted(
    model: Model, frame: pd.DataFrame, known: pd.Series, rows: pd.DataFrame, windows: Windows
) -> list[tuple[Tried, Any, Validation]]:
    """Return each candidate fitted with each window, and how it does on the rows after it."""
    first = str(known[rows.index[0]])
    earlier = sorted(known[known < first].unique())
    earlier = earlier[: len(earlier) - windows.gap]
    found = []
    for window in windows.training:
        since = _before(first, window)
        train = frame[known.isin([time for time in earlier if time >= since])]
        if len(train) < contract.FEWEST_ROWS:
            raise SimulationError(
                f"The {window} days before {first} have {len(train)} rows to train on, "
                f"{contract.FEWEST_ROWS} are required. Choose a longer training window."
            )
        found += [_evaluate(model, one, window, train, rows) for one in model.candidates]
    return found


def _evaluate(
    model: Model, candidate: Candidate, window: int, train: pd.DataFrame, rows: pd.DataFrame
) -> tuple[Tried, Any, Validation]:
    estimator = model.train(candidate, train)
    metrics = model.score(estimator.predict(rows), rows).metrics
    tried = Tried(candidate.name, window, dict(candidate.parameters), metrics)
    return tried, estimator, Validation({f"cv_{key}": metrics[key] for key in metrics}, ())


def _interval(
    model: TimeOrdered, champion: Scorer, challenger: Scorer, rows: pd.DataFrame
) -> tuple[float, float]:
    ours, theirs = (model.losses(score(one, rows), rows) for one in (challenger, champion))
    return mean_interval(ours - theirs)


def _before(time: str, days: int) -> str:
    return str(date.fromisoformat(time[:10]) - timedelta(days=days))


def _rounded(metrics: dict[str, float]) -> dict[str, float | None]:
    return {
        name: round(value, _DIGITS) if np.isfinite(value) else None
        for name, value in sorted(metrics.items())
    }
