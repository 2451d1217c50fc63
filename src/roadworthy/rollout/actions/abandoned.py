"""A rollout whose run has ended before it did.

A driver that is killed, as a step whose pod is evicted or taken away, cannot take its version off
the road. The run's last step does that for it: whoever comes next would have to wait until the
lease is over, and the version would have its share until then.
"""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease, starting
from roadworthy.tracking.registry import Registry

REASON = "its run ended before it did"


def take_back(settings: Settings, model: str, run: str) -> str:
    """End the rollout that a run has left, and return how it ended, in a sentence.

    A promotion that had begun is finished, as every stage was passed. What the run did not begin,
    what has ended, and what somebody took over is left alone: then there is nothing to tell.

    Raises
    ------
    RoadworthyError
        The registry or the target failed.
    """
    registry = Registry.of(settings)
    found = lease.read(registry, model)
    if found is None or found.owner != run or (found.ended and found.settled):
        return ""
    served = target(settings, registry)
    finalising.catch_up(settings, registry, served, model)
    held = starting.hold(settings, registry, model, found.version, run)
    if not held.rollout.ended:
        finalising.roll_back(held, served, REASON)
    told = str(held.rollout)
    return f"{told[:1].upper()}{told[1:]}."
