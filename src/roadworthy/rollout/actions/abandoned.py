"""Abandoned rollouts, whose run ended before they did.

A driver that is killed, such as a step whose pod is evicted, cannot remove its version from
service. The last step of the run does it, so that the version does not keep its traffic weight
until the lease expires.
"""

from __future__ import annotations

from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import finalising, lease
from roadworthy.tracking.registry import Registry

REASON = "its run ended before it did"


def take_back(settings: Settings, model: str, run: str) -> str:
    """End the abandoned rollout of a run, and return how it ended, in a sentence.

    A promotion that had begun is finished, as every stage was passed. Returns an empty string if
    the run began no rollout, or if it has ended or was taken over.

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
