"""Verify a staged version with the golden batch and, stage by stage, with live traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadworthy.bundles import bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import starting
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.state import Rollout
from roadworthy.rollout.engine.verification import Verification
from roadworthy.tracking.registry import Registry


@dataclass(frozen=True)
class Verified:
    """What the golden batch showed last, and how the rollout stands."""

    golden: Verification
    rollout: Rollout
    tolerance: float

    @property
    def problem(self) -> str:
        """Why the version was rolled back; empty if it was not."""
        return self.rollout.problem

    @property
    def good(self) -> bool:
        """Whether the version may become the champion."""
        return not self.problem

    def __str__(self) -> str:
        """Return it for the terminal."""
        stages = [stage for stage in self.rollout.stages if not stage.problem]
        if self.problem or not stages:
            return self.problem or str(self.golden)
        shares = ", ".join(str(stage.share) for stage in stages)
        live = sum(stage.requests for stage in stages if not stage.quiet)
        blind = any(stage.blind for stage in stages)
        nothing = "requests not counted" if blind else "no live request"
        asked = f"{live} live requests" if live else nothing
        return f"{self.golden}; {asked} at {shares} %"


def verify(settings: Settings, *, packed: Path, version: int, owner: str) -> Verified:
    """Return what the stages showed. A bad version is off the road already.

    Parameters
    ----------
    owner
        The run that began the rollout.

    Raises
    ------
    TakenError
        Another run or command took the rollout over.
    """
    staged = bundle.read(packed)
    model = staged.manifest.model
    registry = Registry.of(settings)
    held = starting.hold(settings, registry, model, version, owner)
    driver = Driver(held, target(settings, registry), staged.golden)
    rollout = held.rollout if held.rollout.ended else driver.verify()
    return Verified(driver.verified, rollout, driver.verified.allowed)
