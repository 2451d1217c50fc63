"""Record in the registry why a candidate is not deployed."""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.steps.recording import Attempt, record
from roadworthy.tracking.registry import Registry


def reject(settings: Settings, attempt: Attempt) -> None:
    """Record every candidate as an MLflow run, and the verdict beside the chosen one's."""
    record(Registry.of(settings), attempt)
