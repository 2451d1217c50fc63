"""Cross-validate every candidate and train the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from roadworthy.models import contract
from roadworthy.models.contract import Candidate, Validation
from roadworthy.steps.training import Training, Tried, write
from roadworthy.training.fitting import fit
from roadworthy.training.parameters import Change, changed
from roadworthy.training.selection import cross_validated, named


def train(
    model: str,
    rows: Path,
    *,
    target: Path,
    candidate: str = "",
    changes: Sequence[Change] = (),
    tell: Callable[[str], object] = str,
) -> Training:
    """Write the fitted estimator and the metrics of every candidate to a directory.

    Parameters
    ----------
    rows
        The rows to train on, as the model's dataset keeps them.
    candidate
        The name of the only candidate to train; empty to try them all and choose the best.
    changes
        Other values for parameters of candidates.
    tell
        Called with a sentence after each candidate.
    """
    chosen = contract.load(model)
    tried = changed(chosen.candidates, changes)
    tried = (named(tried, candidate),) if candidate else tried
    fitted = fit(chosen, chosen.dataset.load(rows), candidates=tried, tell=tell)
    training = Training(
        candidate=fitted.candidate.name,
        metrics=fitted.metrics,
        candidates={item.name: _tried(item, fitted.validations[item.name]) for item in tried},
        named=bool(candidate),
    )
    figures = {name: validation.figures for name, validation in fitted.validations.items()}
    write(target, fitted.estimator, training, figures)
    return training


def _tried(candidate: Candidate, validation: Validation) -> Tried:
    checks = {f"cv_{check.name}": check.value for check in validation.checks}
    return Tried(dict(candidate.parameters), cross_validated(validation) | checks)
