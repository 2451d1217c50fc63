"""Training: every candidate cross-validated, the chosen one fitted to everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from roadworthy.models.contract import Candidate, Model, Validation
from roadworthy.training.selection import FAILED_CHECKS, choose, failed_checks


@dataclass(frozen=True)
class Fitted:
    """The chosen candidate, its fitted estimator, and how every candidate did."""

    candidate: Candidate
    estimator: Any
    validations: dict[str, Validation]

    @property
    def metrics(self) -> dict[str, float]:
        """The cross-validated metrics of the chosen candidate, its failed checks counted."""
        validation = self.validations[self.candidate.name]
        return validation.metrics | {FAILED_CHECKS: float(failed_checks(validation))}


def fit(model: Model, train: pd.DataFrame) -> Fitted:
    """Return the candidate that is chosen, fitted to all rows.

    Raises
    ------
    NoCandidateError
        None has a metric that is a number.
    """
    validations = {item.name: model.cross_validate(item, train) for item in model.candidates}
    name = choose(validations, model.criteria)
    candidate = next(item for item in model.candidates if item.name == name)
    return Fitted(candidate, model.train(candidate, train), validations)
