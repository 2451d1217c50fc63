"""Which of the candidates is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping

from roadworthy.errors import RoadworthyError
from roadworthy.models.contract import Criteria, Validation


class NoCandidateError(RoadworthyError):
    """No candidate behaves as it must."""


def choose(validations: Mapping[str, Validation], criteria: Criteria) -> str:
    """Return the name of the candidate to train on everything.

    The best by cross-validation among those that pass the behavioural checks; of those that are
    worse than it by less than ``criteria.simplicity``, the simplest. One whose metric is not a
    number is none of them.

    Parameters
    ----------
    validations
        What cross-validation found of each candidate, the simplest first.

    Raises
    ------
    NoCandidateError
        None passes the behavioural checks.
    """
    metric = f"cv_{criteria.metric}"
    behaved = {
        name: validation.metrics[metric]
        for name, validation in validations.items()
        if not _faults(validation, metric)
    }
    if not behaved:
        failed = "; ".join(
            f"{name}: {_faults(validation, metric)[0]}" for name, validation in validations.items()
        )
        raise NoCandidateError(
            f"No candidate passes the behavioural checks ({failed}). "
            f"Look at the data, or give the model another candidate."
        )
    best = max(behaved.values())
    return next(name for name, value in behaved.items() if value > best - criteria.simplicity)


def _faults(validation: Validation, metric: str) -> list[str]:
    faults = [str(check) for check in validation.checks if not check.passed]
    if math.isnan(validation.metrics[metric]):
        faults.append(f"{metric} is not a number")
    return faults
