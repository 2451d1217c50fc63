"""Take a version that failed its verification off the road."""

from __future__ import annotations

from roadworthy.registry import Registry
from roadworthy.rollout import local
from roadworthy.settings import Settings


def roll_back(settings: Settings, model: str, *, version: int, problem: str) -> None:
    """Leave the champion alone on the road, and note why in the version's tags."""
    local.roll_back(settings, model)
    registry = Registry.of(settings)
    rolled_back = registry.version(model, version)
    registry.tag(rolled_back, {"rolled_back": problem})
    if "challenger" in rolled_back.aliases:
        registry.drop_alias(model, "challenger")
