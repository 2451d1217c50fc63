"""Evaluate the trained estimator on the hold-out and make its bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from roadworthy.bundles.packing import pack
from roadworthy.models import contract
from roadworthy.models.contract import Evaluation, Model
from roadworthy.steps import training as training_files


@dataclass(frozen=True)
class Confusion:
    """How often each class was answered as which: a row for each true class, in order."""

    classes: list[str]
    counts: list[list[int]]


@dataclass(frozen=True)
class Examined:
    """What the hold-out shows, and the digest of the bundle.

    Parameters
    ----------
    confusion
        Of a classification; None for another task.
    """

    digest: str
    evaluation: Evaluation
    confusion: Confusion | None = None

    def __str__(self) -> str:
        """Return it for the terminal."""
        metrics = list(self.evaluation.metrics.items())[:2]
        told = ", ".join(f"{name} {value:.4g}" for name, value in metrics)
        return f"{told} on the hold-out, bundle {self.digest[:12]}"

    @property
    def figures(self) -> dict[str, bytes]:
        """The figures of the hold-out."""
        return self.evaluation.figures

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, without the figures."""
        return {
            "digest": self.digest,
            "metrics": self.evaluation.metrics,
            "slices": self.evaluation.slices,
            "checks": [asdict(check) for check in self.evaluation.checks],
        }


def evaluate(
    model: str,
    *,
    trained: Path,
    train: Path,
    test: Path,
    commit: str,
    data_hash: str,
    target: Path,
) -> Examined:
    """Write the bundle to a directory and return what the hold-out shows.

    Parameters
    ----------
    trained
        The directory that training wrote.
    train, test
        The rows it was trained on and the hold-out, as the model's dataset keeps them.
    """
    chosen = contract.load(model)
    training = training_files.read(trained)
    estimator = training_files.estimator(trained)
    rows, held_out = chosen.dataset.load(train), chosen.dataset.load(test)
    evaluation = chosen.evaluate(estimator, held_out)
    packed = pack(
        target,
        model=chosen,
        estimator=estimator,
        evaluation=evaluation,
        train=rows,
        test=held_out,
        candidate=training.candidate,
        parameters=training.parameters,
        metrics=training.metrics,
        commit=commit,
        data_hash=data_hash,
    )
    confusion = _confusion(chosen, estimator, held_out)
    return Examined(packed.digest, evaluation, confusion)


def _confusion(model: Model, estimator: Any, held_out: pd.DataFrame) -> Confusion | None:
    """Return the confusion matrix of the answer field whose true values the hold-out has."""
    known = [name for name in model.Answer.model_fields if name in held_out.columns]
    if model.task != "classification" or not known:
        return None
    truth = held_out[known[0]].astype(str)
    answered = estimator.predict(held_out[list(model.Request.model_fields)])[known[0]].astype(str)
    classes = sorted({*truth, *answered})
    table = pd.crosstab(truth, answered).reindex(index=classes, columns=classes, fill_value=0)
    return Confusion(classes, table.to_numpy().tolist())
