"""What training leaves behind for the steps after it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib

_ESTIMATOR = "estimator.joblib"
_FACTS = "training.json"


@dataclass(frozen=True)
class Training:
    """Which candidate was chosen, its cross-validation, its MLflow run, and all candidates."""

    candidate: str
    parameters: dict[str, float | str]
    metrics: dict[str, float]
    run_id: str
    candidates: dict[str, dict[str, float]]

    def __str__(self) -> str:
        """Return it for the terminal."""
        metric, value = next(iter(self.metrics.items()))
        return f"{self.candidate} of {len(self.candidates)} candidates, {metric} {value:.4f}"


def write(target: Path, estimator: Any, training: Training) -> None:
    """Write the fitted estimator and what is known of it to a directory."""
    target.mkdir(parents=True, exist_ok=True)
    joblib.dump(estimator, target / _ESTIMATOR)
    (target / _FACTS).write_text(json.dumps(asdict(training)))


def read(directory: Path) -> tuple[Any, Training]:
    """Return the fitted estimator and what is known of it."""
    raw: dict[str, Any] = json.loads((directory / _FACTS).read_text())
    return joblib.load(directory / _ESTIMATOR), Training(**raw)
