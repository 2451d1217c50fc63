"""Note in the registry why a candidate does not go on the road."""

from __future__ import annotations

import json
from typing import Any

from roadworthy.registry import Registry
from roadworthy.settings import Settings


def reject(settings: Settings, *, run_id: str, verdict: dict[str, Any]) -> None:
    """Put the verdict beside the candidate's run, and its reasons into the run's tags."""
    registry = Registry(settings.mlflow_tracking_uri, settings.mlflow_artifacts)
    registry.log_files(run_id, {"gate/verdict.json": json.dumps(verdict, indent=2).encode()})
    registry.tag_run(run_id, {"gate": "failed", "gate_reasons": "; ".join(verdict["reasons"])})
