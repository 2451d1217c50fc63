"""A rollout whose run has ended before it did.

A driver that is killed, as a step whose pod is evicted, cannot remove its version from service. The
run's last step does that for it: whoever comes next would have to wait until the lease is over, and
the version would keep its traffic weight until then.
"""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
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
    served = target(settings, registry)
    found = served.records.read(model).rollout
    if found is None or found.owner != run or (found.ended and found.settled):
        return ""
    finalising.catch_up(settings, registry, served, model)
    held = lease.hold(settings, served.records, model, found.version, run)
    if not held.rollout.ended:
        finalising.roll_back(held, served, registry, REASON)
    told = str(held.rollout)
    return f"{told[:1].upper()}{told[1:]}."
