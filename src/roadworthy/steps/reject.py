"""Record in the registry why a candidate is not deployed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadworthy.bundles import bundle, releases
from roadworthy.core.settings import Settings
from roadworthy.steps import training
from roadworthy.steps.recording import Attempt, record
from roadworthy.steps.release import register
from roadworthy.tracking.registry import Registry


@dataclass(frozen=True)
class Rejected:
    """What became of a candidate that the gate refused: its version and tag, if it has them."""

    version: int = 0
    tag: str = ""

    def __str__(self) -> str:
        """Return it for the terminal."""
        if not self.version:
            return "the champion stays"
        return f"version {self.version} is registered, tag {self.tag}, and not deployed"


def reject(settings: Settings, attempt: Attempt, *, packed: Path) -> Rejected:
    """Record every candidate as an MLflow run, and the verdict beside the chosen one's.

    The bundle of a candidate that a user named becomes a version with a tag in Git. It gets neither
    an alias nor traffic.
    """
    registry = Registry.of(settings)
    if not training.read(attempt.trained).named:
        record(registry, attempt, repository=settings.git_remote)
        return Rejected()
    candidate = bundle.read(packed)
    version = register(settings, registry, attempt, candidate)
    releases.publish(settings, candidate, version.git_tag)
    return Rejected(version.number, version.git_tag)
