"""Cross-validate every candidate, record each, and train the one that is chosen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from roadworthy.models import contract
from roadworthy.models.contract import Validation
from roadworthy.registry import Registry
from roadworthy.settings import Settings
from roadworthy.steps.training import Training, write
from roadworthy.training import fit


def train(
    settings: Settings,
    model: str,
    rows: Path,
    *,
    recipe: str,
    tags: dict[str, str],
    target: Path,
) -> Training:
    """Write the fitted estimator and what is known of it to a directory.

    Parameters
    ----------
    rows
        The Parquet file of the rows to train on.
    recipe
        The hash of code and data; a candidate of one recipe is recorded once.
    tags
        What else each candidate's MLflow run says: commit, data hash, trigger.
    """
    chosen = contract.load(model)
    fitted = fit(chosen, pd.read_parquet(rows))
    name = fitted.candidate.name
    registry = Registry(settings.mlflow_tracking_uri, settings.mlflow_artifacts)
    runs = {
        item.name: registry.log_candidate(
            model,
            name=item.name,
            recipe=recipe,
            parameters=item.parameters,
            metrics=_metrics(fitted.validations[item.name]),
            tags={**tags, "chosen": str(item.name == name)},
            figures=fitted.validations[item.name].figures,
        )
        for item in chosen.candidates
    }
    training = Training(
        candidate=name,
        parameters=dict(fitted.candidate.parameters),
        metrics=fitted.metrics,
        run_id=runs[name],
        candidates={key: _metrics(item) for key, item in fitted.validations.items()},
    )
    write(target, fitted.estimator, training)
    return training


def _metrics(validation: Validation) -> dict[str, float]:
    return validation.metrics | {check.name: check.value for check in validation.checks}
