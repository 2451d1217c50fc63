"""Choose one of the candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.contract import Candidate, Criteria, Validation

FAILED_CHECKS = "cv_failed_checks"
"""The metric that counts the behavioural checks which a candidate fails on unseen rows."""


class NoCandidateError(RoadworthyError):
    """No candidate has a metric, or none has the name."""


def named(candidates: Sequence[Candidate], name: str) -> Candidate:
    """Return the candidate of a name.

    Raises
    ------
    NoCandidateError
        There is none; the error lists those that there are.
    """
    known = {candidate.name: candidate for candidate in candidates}
    if name not in known:
        raise NoCandidateError(
            f"There is no candidate {name!r}: name one of {', '.join(known)}, or add it to the "
            f"model's candidates and commit that."
        )
    return known[name]


def choose(validations: Mapping[str, Validation], criteria: Criteria) -> str:
    """Return the name of the candidate to train on everything.

    The best by cross-validation among those that pass the behavioural checks; of those that are
    worse than it by less than ``criteria.simplicity``, the simplest. Where none passes them, it is
    so chosen from all: the gate will refuse it. One whose metric is not a number is
    none of them.

    Parameters
    ----------
    validations
        What cross-validation found of each candidate, the simplest first.

    Raises
    ------
    NoCandidateError
        None has a metric that is a number.
    """
    name = f"cv_{criteria.metric}"
    known = {
        candidate: validation.metrics[name]
        for candidate, validation in validations.items()
        if not math.isnan(validation.metrics[name])
    }
    behaved = {
        candidate: value
        for candidate, value in known.items()
        if not failed_checks(validations[candidate])
    }
    eligible = behaved or known
    if not eligible:
        raise NoCandidateError(
            f"{name} of every candidate ({', '.join(validations)}) is not a number. "
            f"Look at the data, or give the model another candidate."
        )
    best = max(eligible.values())
    return next(name for name, value in eligible.items() if value > best - criteria.simplicity)


def cross_validated(validation: Validation) -> dict[str, float]:
    """Return the metrics of a candidate, its failed checks counted."""
    return validation.metrics | {FAILED_CHECKS: float(failed_checks(validation))}


def failed_checks(validation: Validation) -> int:
    """Return how many behavioural checks a candidate fails on rows that it was not fitted on."""
    return sum(not check.passed for check in validation.checks)
