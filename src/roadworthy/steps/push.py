"""Push a registered bundle: its objects to DVC's remote, then its commit and tag to Git's."""

from __future__ import annotations

from pathlib import Path

from roadworthy.bundles import bundle, releases
from roadworthy.core.settings import Settings


def push(settings: Settings, *, packed: Path, tag: str) -> str:
    """Return the commit that the release's tag names."""
    return releases.publish(settings, bundle.read(packed), tag)
