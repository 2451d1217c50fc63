"""Verify a staged version with the golden batch, over HTTP."""

from __future__ import annotations

from pathlib import Path

from roadworthy import bundle
from roadworthy.rollout.verification import Verification
from roadworthy.rollout.verification import verify as send
from roadworthy.settings import Settings


def verify(settings: Settings, *, packed: Path, version: int) -> Verification:
    """Return what the golden batch showed."""
    staged = bundle.read(packed)
    return send(settings.serving_url, staged.manifest.model, version, staged.golden)
