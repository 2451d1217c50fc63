"""Stage a version at the model server."""

from __future__ import annotations

from pathlib import Path

from roadworthy import bundle
from roadworthy.rollout.local import stage
from roadworthy.settings import Settings


def roll_out(settings: Settings, *, packed: Path, version: int) -> None:
    """Return when the version answers those who ask for it.

    It gets no traffic yet, so the registry need not be asked: that its rollout has begun is noted
    there already.
    """
    stage(settings, bundle.read(packed), version)
