"""What training leaves behind for the steps after it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib

_ESTIMATOR = "estimator.joblib"
_FACTS = "training.json"


@dataclass(frozen=True)
class Tried:
    """One candidate: its parameters, and what cross-validation found."""

    parameters: dict[str, float | str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Training:
    """What training found.

    Parameters
    ----------
    candidate, metrics
        Which candidate was chosen, and its cross-validated metrics.
    candidates
        Every candidate that was tried, by name.
    named
        Whether it was chosen because a user named it.
    """

    candidate: str
    metrics: dict[str, float]
    candidates: dict[str, Tried]
    named: bool = False

    @property
    def parameters(self) -> dict[str, float | str]:
        """The parameters of the chosen candidate."""
        return self.candidates[self.candidate].parameters

    def __str__(self) -> str:
        """Return it for the terminal."""
        metric, value = next(iter(self.metrics.items()))
        several = f" of {len(self.candidates)} candidates" if len(self.candidates) > 1 else ""
        return f"{self.candidate}{several}, {metric} {value:.4f}"


def write(
    target: Path,
    estimator: Any,
    training: Training,
    figures: Mapping[str, Mapping[str, bytes]],
) -> None:
    """Write the fitted estimator, what is known of it, and each candidate's figures."""
    for candidate, drawn in figures.items():
        (target / candidate).mkdir(parents=True, exist_ok=True)
        for name, png in drawn.items():
            (target / candidate / f"{name}.png").write_bytes(png)
    target.mkdir(parents=True, exist_ok=True)
    joblib.dump(estimator, target / _ESTIMATOR)
    (target / _FACTS).write_text(json.dumps(asdict(training)))


def read(directory: Path) -> Training:
    """Return what is known of the candidates."""
    raw: dict[str, Any] = json.loads((directory / _FACTS).read_text())
    candidates = {name: Tried(**tried) for name, tried in raw.pop("candidates").items()}
    return Training(**raw, candidates=candidates)


def estimator(directory: Path) -> Any:
    """Return the fitted estimator."""
    return joblib.load(directory / _ESTIMATOR)


def figures(directory: Path, candidate: str) -> dict[str, bytes]:
    """Return the PNG figures of a candidate by name."""
    found = sorted((directory / candidate).glob("*.png"))
    return {file.stem: file.read_bytes() for file in found}
