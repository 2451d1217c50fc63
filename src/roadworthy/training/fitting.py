"""Training: every candidate cross-validated, the chosen one fitted to everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.contract import Candidate, ExportError, Model, Validation
from roadworthy.training.selection import FAILED_CHECKS, choose, failed_checks, named

_SAMPLE = 60
"""So many rows are fitted in a fraction of a second."""


class CandidateExportError(RoadworthyError):
    """A candidate cannot be exported to ONNX."""


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
    CandidateExportError
        One cannot be exported to ONNX. It is found before any is cross-validated.
    NoCandidateError
        There is no such candidate, or none has a metric that is a number.
    """
    tried = [named(model.candidates, candidate)] if candidate else model.candidates
    for item in tried:
        check_export(model, item, train)
    validations = {item.name: model.cross_validate(item, train) for item in tried}
    chosen = named(tried, candidate or choose(validations, model.criteria))
    return Fitted(chosen, model.train(chosen, train), validations)


def check_export(model: Model, candidate: Candidate, train: pd.DataFrame) -> None:
    """Check that a candidate, fitted to a sample of the rows, can be exported.

    Raises
    ------
    CandidateExportError
        It cannot. The message names the step and what to do.
    """
    rows = np.linspace(0, len(train) - 1, min(_SAMPLE, len(train))).astype(int)
    try:
        model.export(model.train(candidate, train.iloc[rows]))
    except ExportError as error:
        raise CandidateExportError(f"The candidate {candidate.name}: {error}") from error
    except Exception:  # noqa: BLE001 - a sample may lack a class; other errors come again later
        return
