"""Verify a staged version with the golden batch, then shift traffic to it and analyse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from roadworthy.bundles import bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import lease
from roadworthy.rollout.engine.driver import Driver
from roadworthy.rollout.engine.state import Rollout
from roadworthy.rollout.engine.verification import Verification


@dataclass(frozen=True)
class Analysed:
    """The last verification with the golden batch, and the state of the rollout."""

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
        weights = ", ".join(str(stage.weight) for stage in stages)
        live = sum(stage.requests for stage in stages if not stage.quiet)
        unknown = any(stage.metrics_unavailable for stage in stages)
        nothing = "requests not counted" if unknown else "no live request"
        asked = f"{live} live requests" if live else nothing
        problem = self.rollout.metrics_problem
        return f"{self.golden}; {asked} at {weights} %{f' ({problem})' if problem else ''}"


def canary(
    settings: Settings,
    *,
    packed: Path,
    version: int,
    owner: str,
    tell: Callable[[str], None] = lambda _: None,
) -> Analysed:
    """Return the result of the stages. A version that failed is removed from service already.

    Parameters
    ----------
    owner
        The run that started the rollout.
    tell
        Called again and again with the stage and its traffic, in words.

    Raises
    ------
    ConflictError
        Another run or command took the rollout over.
    """
    staged = bundle.read(packed)
    served = target(settings)
    held = lease.hold(settings, served.records, staged.manifest.model, version, owner)
    driver = Driver(held, served, staged.golden, tell=tell)
    rollout = held.rollout if held.rollout.ended else driver.verify()
    return Analysed(driver.verified, rollout, driver.verified.allowed)
