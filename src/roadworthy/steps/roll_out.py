"""Stage a version at the model server."""

from __future__ import annotations

from pathlib import Path

from roadworthy import bundle
from roadworthy.rollout import local
from roadworthy.settings import Settings


def roll_out(settings: Settings, *, packed: Path, version: int) -> None:
    """Return when the version answers those who ask for it."""
    local.stage(settings, bundle.read(packed), version)
