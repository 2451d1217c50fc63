"""Training: every candidate cross-validated, the chosen one fitted to everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from roadworthy.models.contract import Candidate, Model, Validation
from roadworthy.training.selection import FAILED_CHECKS, choose, failed_checks, named


@dataclass(frozen=True)
class Fitted:
    """The chosen candidate, its fitted estimator, and how every one that was tried did."""

    candidate: Candidate
    estimator: Any
    validations: dict[str, Validation]

    @property
    def metrics(self) -> dict[str, float]:
        """The cross-validated metrics of the chosen candidate, its failed checks counted."""
        validation = self.validations[self.candidate.name]
        return validation.metrics | {FAILED_CHECKS: float(failed_checks(validation))}


def fit(model: Model, train: pd.DataFrame, *, candidate: str = "") -> Fitted:
    """Return the candidate that is chosen, fitted to all rows.

    Parameters
    ----------
    candidate
        The name of the only candidate to try; empty to try them all and choose the best.

    Raises
    ------
    NoCandidateError
        There is no such candidate, or none has a metric that is a number.
    """
    tried = [named(model.candidates, candidate)] if candidate else model.candidates
    validations = {item.name: model.cross_validate(item, train) for item in tried}
    chosen = named(tried, candidate or choose(validations, model.criteria))
    return Fitted(chosen, model.train(chosen, train), validations)
