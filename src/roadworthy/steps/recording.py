"""Record what was tried in MLflow: one run a candidate, the verdict beside the chosen one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadworthy.steps import training
from roadworthy.tracking.registry import Registry


def record(
    registry: Registry,
    model: str,
    trained: Path,
    *,
    recipe: str,
    verdict: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Return the MLflow run of the chosen candidate, after recording every one.

    Parameters
    ----------
    trained
        The directory that training wrote.
    recipe
        The hash of code and data; of it and the commit, a candidate is recorded once.
    verdict
        What the gate said of the chosen one.
    tags
        What else each run says: ``commit``, ``data_hash``, ``trigger``, ``pipeline_run``.
    """
    tried = training.read(trained)
    runs = {
        name: registry.log_candidate(
            model,
            name=name,
            # The commit too: a bundle names it, so another commit's is another bundle.
            made_of=f"{recipe}@{tags['commit']}",
            parameters=candidate.parameters,
            metrics=candidate.metrics,
            tags={**tags, "chosen": str(name == tried.candidate)},
            figures=training.figures(trained, name),
        )
        for name, candidate in tried.candidates.items()
    }
    run_id = runs[tried.candidate]
    registry.log_dataset(run_id, model, tags["data_hash"], tags["commit"])
    # Run again, a candidate may meet another champion, and another verdict: the files are of each
    # pipeline run, the run's tags of the last.
    verdict_file = f"gate/{tags['pipeline_run']}.json"
    registry.log_files(run_id, {verdict_file: json.dumps(verdict, indent=2).encode()})
    registry.tag_run(run_id, outcome(verdict))
    return run_id


def outcome(verdict: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict as tags."""
    if verdict["passed"]:
        return {"gate": "passed", "gate_reasons": f"all {len(verdict['checks'])} checks passed"}
    return {"gate": "failed", "gate_reasons": "; ".join(verdict["reasons"])}
