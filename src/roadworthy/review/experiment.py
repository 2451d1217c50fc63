"""Try candidates without a commit: logged to MLflow, never registered and never deployed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from roadworthy.core.settings import Settings
from roadworthy.data import git
from roadworthy.review.preview import Preview, preview
from roadworthy.tracking.registry import Registry, source_tags
from roadworthy.training.parameters import Change


def experiment(
    settings: Settings,
    directory: Path,
    model: str,
    *,
    candidate: str = "",
    changes: Sequence[Change] = (),
    tell: Callable[[str], object],
) -> Preview:
    """Return a preview of the clone around a directory, and log every candidate of it.

    Each candidate is a run in MLflow's experiment ``MODEL-experiments``, with what is not committed
    as a file. See :func:`roadworthy.review.preview.preview` for the parameters and errors.
    """
    found = preview(settings, directory, model, candidate=candidate, changes=changes, tell=tell)
    registry = Registry.of(settings)
    clone = git.inspect(directory)
    files = {"preview.md": found.to_markdown().encode()}
    if found.changes:
        files["uncommitted.diff"] = git.git("diff", "HEAD", cwd=clone.root).encode()
    for name, tried in found.candidates.items():
        is_chosen = name == found.name
        reasons = "; ".join(found.verdict.reasons)
        told = {"gate": "passed" if found.verdict.passed else "failed", "gate_reasons": reasons}
        run_id = registry.log_candidate(
            experiment_name(model),
            name=name,
            made_of=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}@{found.commit}",
            parameters=tried.parameters,
            metrics=tried.metrics | (found.scores.metrics if is_chosen else {}),
            tags={
                **source_tags(settings.git_remote, found.commit),
                "mlflow.source.git.dirty": str(bool(found.changes)),
                "commit": found.commit,
                "data_hash": found.data_hash,
                "chosen": str(is_chosen),
                **(told if is_chosen else {}),
            },
            figures={},
        )
        registry.log_dataset(run_id, model, found.data_hash, found.commit)
        registry.log_files(run_id, files)
    return found


def experiment_name(model: str) -> str:
    """Return the name of the MLflow experiment that holds a model's experiments."""
    return f"{model}-experiments"
