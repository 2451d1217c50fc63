"""Training: every candidate cross-validated, the chosen one fitted to everything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from roadworthy.core.errors import RoadworthyError
from roadworthy.models.contract import Candidate, ExportError, Model, Validation
from roadworthy.training.selection import choose, cross_validated, named
from roadworthy.training.threads import bounded

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
        return cross_validated(self.validations[self.candidate.name])


def fit(
    model: Model,
    train: pd.DataFrame,
    *,
    candidates: Sequence[Candidate] = (),
    tell: Callable[[str], object] = str,
) -> Fitted:
    """Return the candidate that is chosen, fitted to all rows.

    Parameters
    ----------
    candidates
        Those to try, the simplest first; the model's own by default. A single one is chosen
        however it does.
    tell
        Called with a sentence after each candidate.

    Raises
    ------
    CandidateExportError
        One cannot be exported to ONNX. It is found before any is cross-validated.
    NoCandidateError
        None has a metric that is a number.
    """
    tried = candidates or model.candidates
    metric = f"cv_{model.criteria.metric}"
    validations = {}
    with bounded():
        for candidate in tried:
            check_export(model, candidate, train)
        for number, candidate in enumerate(tried, start=1):
            started = time.monotonic()
            found = validations[candidate.name] = model.cross_validate(candidate, train)
            seconds = time.monotonic() - started
            tell(
                f"{candidate.name}, {number} of {len(tried)}: {metric} "
                f"{found.metrics.get(metric, math.nan):.4f} after {seconds:.1f} s"
            )
        name = choose(validations, model.criteria) if len(tried) > 1 else tried[0].name
        chosen = named(tried, name)
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
