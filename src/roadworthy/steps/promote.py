"""Make a verified version the champion."""

from __future__ import annotations

from datetime import UTC, datetime

from roadworthy.registry import Registry
from roadworthy.rollout import local
from roadworthy.settings import Settings


def promote(settings: Settings, model: str, *, version: int, why: str) -> None:
    """Make the version answer everybody, and note who promoted it, when and why.

    The road comes first: should the process die in between, the next run finds that the version
    is not the champion yet and finishes. What is the champion already keeps its note.
    """
    local.promote(settings, model, version)
    registry = Registry.of(settings)
    promoted = registry.version(model, version)
    if "champion" not in promoted.aliases:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"promoted_by": settings.actor, "promoted_at": now, "promoted_why": why}
        registry.tag(promoted, told | {"rolled_back": ""})
        registry.set_alias(promoted, "champion")
    if "challenger" in promoted.aliases:
        registry.drop_alias(model, "challenger")
