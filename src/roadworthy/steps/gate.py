"""Measure what the gate decides on."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Bundle, Manifest
from roadworthy.bundles.scoring import Columns, Scorer, from_frame, to_frame
from roadworthy.core.settings import Settings
from roadworthy.models import contract
from roadworthy.models.agreement import agree
from roadworthy.models.contract import Model, Scores
from roadworthy.training.gate import Change, Verdict, decide

_LATENCY_CALLS = 200


@dataclass(frozen=True)
class Judged:
    """A verdict, and what was measured of both sides for it. Get one from :func:`judge`.

    Parameters
    ----------
    candidate, champion
        Their scores on the same hold-out; of the champion None where there is none, or where its
        requests cannot be made of those rows.
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
        The hold-out, on which the champion is scored anew, as the model's dataset keeps it.
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
        The hold-out, on which both are scored, as the model's dataset keeps it.
    champion, number
        The deployed version; None and 0 when there is none.
    """
    chosen = contract.load(model)
    held_out = chosen.dataset.load(test)
    candidate = bundle.read(packed)
    champion_scores, note = _champion(chosen, champion, number, held_out)
    judged = weigh(
        chosen,
        Scorer(candidate.graph),
        joblib.load(candidate.path / bundle.ESTIMATOR),
        metrics=candidate.manifest.metrics,
        held_out=held_out,
        champion=champion_scores,
    )
    changes = () if champion is None else _changes(champion.manifest, candidate.manifest)
    if champion_scores is not None:
        changes += tuple(
            Change(f"hold-out {name}", value, judged.candidate.metrics.get(name, math.nan))
            for name, value in champion_scores.metrics.items()
        )
    return replace(judged, verdict=replace(judged.verdict, note=note, changes=changes))


def weigh(
    model: Model,
    scorer: Scorer,
    estimator: Any,
    *,
    metrics: Mapping[str, float],
    held_out: pd.DataFrame,
    champion: Scores | None,
) -> Judged:
    """Return the verdict on an exported estimator.

    Parameters
    ----------
    scorer, estimator
        Its graph, and itself: both must give the same answers.
    metrics
        Of cross-validation.
    held_out
        Rows that it was not fitted on.
    champion
        The champion's scores on the same rows, None where there are none.
    """
    requests = from_frame(held_out, scorer.inputs)
    answered = scorer.score(requests)
    scores = model.score(to_frame(answered, held_out.index), held_out)
    expected = estimator.predict(held_out[list(scorer.inputs)])
    verdict = decide(
        model.criteria,
        metrics=metrics,
        candidate=scores,
        champion=champion,
        behaviour=model.behaviour(lambda asked: score(scorer, asked), held_out),
        parity=agree(from_frame(expected, expected.columns), answered, model.tolerance),
        latency_ms=latency(scorer, {name: column[:1] for name, column in requests.items()}),
    )
    return Judged(verdict, scores, champion)


def score(scorer: Scorer, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the graph's answers to the rows of a frame."""
    return to_frame(scorer.score(from_frame(rows, scorer.inputs)), rows.index)


def latency(scorer: Scorer, request: Columns) -> float:
    """Return the median time of one answer to one request, in milliseconds."""
    times = []
    for _ in range(_LATENCY_CALLS):
        started = time.perf_counter()
        scorer.score(request)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _changes(champion: Manifest, candidate: Manifest) -> tuple[Change, ...]:
    """Return what two bundles are made of differently."""
    parts = [
        {
            "candidate": of.candidate,
            "commit": of.commit[:12],
            "data": of.data_hash[:12],
            **{f"parameter {name}": str(value) for name, value in of.parameters.items()},
            **{f"package {name}": version for name, version in of.packages.items()},
        }
        for of in (champion, candidate)
    ]
    before, after = parts
    return tuple(
        Change(name, before.get(name, "none"), after.get(name, "none"))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )


def _champion(
    chosen: Model, champion: Bundle | None, number: int, held_out: pd.DataFrame
) -> tuple[Scores | None, str]:
    """Return the champion's scores on the hold-out, or why there are none."""
    if champion is None:
        return None, "no champion to compare with"
    scorer = Scorer(champion.graph)
    # A field that was renamed since: the old version cannot answer these rows.
    if lacking := sorted(set(scorer.inputs) - set(held_out.columns)):
        return None, f"not compared with version {number}, which asks for {', '.join(lacking)}"
    return chosen.score(score(scorer, held_out), held_out), f"compared with version {number}"
