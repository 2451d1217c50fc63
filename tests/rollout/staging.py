"""Puts versions on a routing file as a rollout does, without one."""

from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import Rollout
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.routing import routes


def rollout(settings: Settings, version: int, state: str = "staged", **more) -> Rollout:
    """Return a rollout of a version beside whatever is the champion."""
    champion = routes.read(settings.routing, "fuel").champion
    number = champion.version if champion else 0
    return Rollout("fuel", version, number, "canary", "me", "", "", "", state=state, **more)


def stage(settings: Settings, staged: Bundle, version: int) -> None:
    """Stage a version, and keep its weight if it has one."""
    now = routes.read(settings.routing, "fuel")
    again = now.challenger is not None and now.challenger.version == version
    under_way = rollout(settings, version, weight=now.weight if again else 0)
    LocalTarget(settings).stage(under_way, staged)
