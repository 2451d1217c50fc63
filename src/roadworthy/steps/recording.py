"""Record what was tried in MLflow: one run a candidate, the verdict beside the chosen one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadworthy.steps import training
from roadworthy.tracking.registry import Registry


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


def record(registry: Registry, attempt: Attempt) -> str:
    """Return the MLflow run of the chosen candidate, after recording every one, each once."""
    tried = training.read(attempt.trained)
    # The commit too: a bundle names it, so another commit's is another bundle.
    made_of = f"{attempt.source['fingerprint']}@{attempt.source['commit']}"
    runs = {
        name: registry.log_candidate(
            attempt.model,
            name=name,
            made_of=made_of,
            parameters=candidate.parameters,
            metrics=candidate.metrics,
            tags={**attempt.tags, "chosen": str(name == tried.candidate)},
            figures=training.figures(attempt.trained, name),
        )
        for name, candidate in tried.candidates.items()
    }
    run_id = runs[tried.candidate]
    registry.log_dataset(
        run_id, attempt.model, attempt.source["data_hash"], attempt.source["commit"]
    )
    # Run again, a candidate may meet another champion, and another verdict: the files are of each
    # pipeline run, the run's tags of the last.
    said = json.dumps(attempt.verdict, indent=2).encode()
    registry.log_files(run_id, {f"gate/{attempt.run}.json": said})
    registry.tag_run(run_id, attempt.outcome)
    return run_id
