"""Record what was tried in MLflow: one run a candidate, the verdict beside the chosen one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadworthy.steps import training
from roadworthy.tracking.registry import Registry, source_tags


@dataclass(frozen=True)
class Attempt:
    """A run's attempt at a release.

    Parameters
    ----------
    trained
        The directory that training wrote.
    verdict
        What the gate said of the chosen candidate.
    source
        ``commit``, ``data_hash`` and ``fingerprint`` of what it is made of.
    trigger, run
        Why the run was started, and its id.
    """

    model: str
    trained: Path
    verdict: Mapping[str, Any]
    source: Mapping[str, str]
    trigger: str
    run: str

    @property
    def tags(self) -> dict[str, str]:
        """What the MLflow runs and the version tell of their origin."""
        return {
            "commit": self.source["commit"],
            "data_hash": self.source["data_hash"],
            "trigger": self.trigger,
            "pipeline_run": self.run,
        }

    @property
    def outcome(self) -> dict[str, str]:
        """The verdict as tags."""
        said = self.verdict
        if said["passed"]:
            return {"gate": "passed", "gate_reasons": f"all {len(said['checks'])} checks passed"}
        return {"gate": "failed", "gate_reasons": "; ".join(said["reasons"])}

    def held_out(self, validated: Collection[str]) -> dict[str, float]:
        """Return what the gate measured on the hold-out and cross-validation found as ``cv_...``.

        Parameters
        ----------
        validated
            The names of the metrics of cross-validation.
        """
        checks = self.verdict["checks"]
        return {
            check["name"]: check["value"] for check in checks if f"cv_{check['name']}" in validated
        }


def record(registry: Registry, attempt: Attempt, *, repository: str) -> str:
    """Return the MLflow run of the chosen candidate, after recording every one, each once.

    Parameters
    ----------
    repository
        The address of the Git remote that has the commit.
    """
    tried = training.read(attempt.trained)
    # The commit too: a bundle names it, so another commit's is another bundle.
    commit, data_hash = attempt.source["commit"], attempt.source["data_hash"]
    made_of = f"{attempt.source['fingerprint']}@{commit}"
    runs = {
        name: registry.log_candidate(
            attempt.model,
            name=name,
            made_of=made_of,
            parameters=candidate.parameters,
            metrics=candidate.metrics,
            tags={
                **attempt.tags,
                **source_tags(repository, commit),
                "chosen": str(name == tried.candidate),
            },
            figures=training.figures(attempt.trained, name),
        )
        for name, candidate in tried.candidates.items()
    }
    run_id = runs[tried.candidate]
    registry.log_metrics(run_id, attempt.held_out(tried.candidates[tried.candidate].metrics))
    for each in runs.values():
        registry.log_dataset(each, attempt.model, data_hash, commit)
    # Run again, a candidate may meet another champion, and another verdict: the files are of each
    # pipeline run, the run's tags of the last.
    said = json.dumps(attempt.verdict, indent=2).encode()
    registry.log_files(run_id, {f"gate/{attempt.run}.json": said})
    registry.tag_run(run_id, {**attempt.outcome, "chosen": "True"})
    return run_id
