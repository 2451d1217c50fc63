"""Evaluate the trained estimator on the hold-out and make its bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roadworthy.bundles.packing import pack
from roadworthy.models import contract
from roadworthy.models.contract import Evaluation
from roadworthy.steps import training as training_files


@dataclass(frozen=True)
class Examined:
    """What the hold-out shows, and the digest of the bundle."""

    digest: str
    evaluation: Evaluation

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
    return Examined(packed.digest, evaluation)
