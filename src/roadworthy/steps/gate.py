"""Measure what the gate asks for, and let it decide."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import pandas as pd

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Bundle
from roadworthy.bundles.scoring import Scorer
from roadworthy.core.settings import Settings
from roadworthy.models import contract
from roadworthy.models.agreement import Columns, agree
from roadworthy.models.contract import Model, Scores
from roadworthy.training.gate import Verdict, decide

_LATENCY_CALLS = 200


@dataclass(frozen=True)
class Judged:
    """A verdict, and what was measured of both sides for it. Get one from :func:`judge`.

    Parameters
    ----------
    candidate, champion
        Their scores on the same hold-out; of the champion None where there is none, or where its
        requests cannot be asked of those rows.
    """

    verdict: Verdict
    candidate: Scores
    champion: Scores | None


def gate(settings: Settings, model: str, *, packed: Path, test: Path, champion: int) -> Verdict:
    """Return the verdict on a bundle.

    Parameters
    ----------
    packed
        The candidate's bundle.
    test
        The Parquet file of the hold-out, on which the champion is scored anew.
    champion
        The number of the deployed version, 0 when there is none.
    """
    with released(settings, model, champion) as made:
        return judge(model, packed=packed, test=test, champion=made, number=champion).verdict


@contextmanager
def released(settings: Settings, model: str, number: int) -> Iterator[Bundle | None]:
    """Give the bundle of a released version, or None for the number 0.

    Raises
    ------
    GitError, DvcError, BundleError
        It cannot be fetched, or is not the one that was released.
    """
    if not number:
        yield None
        return
    with releases.fetch(settings, model, f"{model}-v{number}") as made:
        yield made


def judge(model: str, *, packed: Path, test: Path, champion: Bundle | None, number: int) -> Judged:
    """Return the verdict on a bundle, with the scores of both sides.

    Parameters
    ----------
    packed
        The candidate's bundle.
    test
        The Parquet file of the hold-out, on which both are scored.
    champion, number
        The deployed version; None and 0 when there is none.
    """
    chosen = contract.load(model)
    held_out = pd.read_parquet(test)
    candidate = bundle.read(packed)
    estimator = joblib.load(candidate.path / bundle.ESTIMATOR)
    scorer = Scorer(candidate.graph)
    answers = score(scorer, held_out)
    expected = estimator.predict(held_out[list(scorer.inputs)])
    scores = chosen.score(answers, held_out)
    champion_scores, note = _champion(chosen, champion, number, held_out)
    verdict = decide(
        chosen.criteria,
        metrics=candidate.manifest.metrics,
        candidate=scores,
        champion=champion_scores,
        behaviour=chosen.behaviour(lambda asked: score(scorer, asked), held_out),
        parity=agree(_columns(expected), _columns(answers), chosen.tolerance),
        latency_ms=latency(scorer, candidate),
    )
    return Judged(replace(verdict, note=note), scores, champion_scores)


def score(scorer: Scorer, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the graph's answers to the rows of a frame."""
    return pd.DataFrame(scorer.score({name: rows[name] for name in scorer.inputs}), rows.index)


def _columns(frame: pd.DataFrame) -> Columns:
    return {str(name): frame[name].to_numpy() for name in frame}


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
    chosen: Model, champion: Bundle | None, number: int, held_out: pd.DataFrame
) -> tuple[Scores | None, str]:
    """Return the champion's scores on the hold-out, or why there are none."""
    if champion is None:
        return None, "no champion to compare with"
    scorer = Scorer(champion.graph)
    # A request that was renamed since: the rows cannot be asked of the old version.
    if lacking := sorted(set(scorer.inputs) - set(held_out.columns)):
        return None, f"not compared with version {number}, which asks for {', '.join(lacking)}"
    return chosen.score(score(scorer, held_out), held_out), f"compared with version {number}"
