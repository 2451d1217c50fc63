"""Measure what the gate asks for, and let it decide."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from roadworthy import bundle
from roadworthy.bundle import Bundle
from roadworthy.data import releases
from roadworthy.gate import Verdict, decide
from roadworthy.models import contract
from roadworthy.models.contract import Scores
from roadworthy.scoring import Scorer
from roadworthy.settings import Settings

_LATENCY_CALLS = 200


def gate(settings: Settings, model: str, *, packed: Path, test: Path, champion: int) -> Verdict:
    """Return the verdict on a bundle.

    Parameters
    ----------
    packed
        The candidate's bundle.
    test
        The Parquet file of the hold-out, on which the champion is scored anew.
    champion
        The number of the version on the road, 0 when there is none.
    """
    chosen = contract.load(model)
    held_out = pd.read_parquet(test)
    candidate = bundle.read(packed)
    estimator = joblib.load(candidate.path / bundle.ESTIMATOR)
    scorer = Scorer(candidate.graph)
    answers = score(scorer, held_out)
    champion_scores, note = _champion(settings, model, champion, held_out)
    verdict = decide(
        chosen.criteria,
        metrics=candidate.manifest.metrics,
        candidate=chosen.score(answers, held_out),
        champion=champion_scores,
        behaviour=chosen.behaviour(lambda asked: score(scorer, asked), held_out),
        parity=parity(answers, estimator.predict(held_out[list(scorer.inputs)])),
        latency_ms=latency(scorer, candidate),
    )
    return replace(verdict, note=note)


def score(scorer: Scorer, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the graph's answers to the rows of a frame."""
    return pd.DataFrame(scorer.score({name: rows[name] for name in scorer.inputs}), rows.index)


def parity(answers: pd.DataFrame, expected: pd.DataFrame) -> float:
    """Return the greatest relative difference; infinite where one of the two is not a number."""
    ratio = answers[expected.columns].to_numpy() / expected.to_numpy()
    difference = np.abs(ratio - 1)
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def latency(scorer: Scorer, candidate: Bundle) -> float:
    """Return the median time of one answer to one request, in milliseconds."""
    request = scorer.columns(candidate.golden.requests[:1])
    times = []
    for _ in range(_LATENCY_CALLS):
        started = time.perf_counter()
        scorer.score(request)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _champion(
    settings: Settings, model: str, number: int, held_out: pd.DataFrame
) -> tuple[Scores | None, str]:
    """Return the champion's scores on the hold-out, or why there are none."""
    if not number:
        return None, "no champion to compare with"
    with releases.fetch(settings, model, f"{model}-v{number}") as champion:
        scorer = Scorer(champion.graph)
        # A request that was renamed since: the rows cannot be asked of the old version.
        if lacking := sorted(set(scorer.inputs) - set(held_out.columns)):
            return None, f"not compared with version {number}, which asks for {', '.join(lacking)}"
        scores = contract.load(model).score(score(scorer, held_out), held_out)
    return scores, f"compared with version {number}"
