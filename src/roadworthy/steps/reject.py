"""Note in the registry why a candidate is not deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roadworthy.core.settings import Settings
from roadworthy.steps.recording import record
from roadworthy.tracking.registry import Registry


def reject(
    settings: Settings,
    model: str,
    *,
    trained: Path,
    recipe: str,
    verdict: dict[str, Any],
    tags: dict[str, str],
) -> None:
    """Record every candidate as an MLflow run, and the verdict beside the chosen one's."""
    registry = Registry.of(settings)
    record(registry, model, trained, recipe=recipe, verdict=verdict, tags=tags)
