"""Drives a rollout through its stages: golden batch, live traffic, verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from roadworthy.bundle import Bundle, Golden
from roadworthy.rollout.judgement import Bounds, Counts, Judgement, judge
from roadworthy.rollout.lease import Lease
from roadworthy.rollout.state import RolledBackError, Rollout, RolloutError, Stage
from roadworthy.rollout.target import Target
from roadworthy.rollout.verification import Verification
from roadworthy.settings import Settings

TICK_SECONDS = 0.2

log = logging.getLogger(__name__)


def bounds(settings: Settings) -> Bounds:
    """Return what the settings demand of a challenger."""
    return Bounds(
        max_error_rate=settings.max_error_rate,
        max_p99_ratio=settings.max_p99_ratio,
        p99_allowance_ms=settings.p99_allowance_ms,
        max_psi=settings.max_psi,
        max_difference=settings.max_difference,
        min_requests=settings.min_requests,
    )


class Driver:
    """Takes one version from wherever its rollout is through all its stages.

    A version that is bad is taken off the road at once.

    Parameters
    ----------
    lease
        The right to drive the rollout.
    target
        Where the version is served.
    golden
        The golden batch of its bundle.
    clock, sleep
        What time it is, in seconds, and how to let it pass.

    Attributes
    ----------
    verified
        What the golden batch showed last.
    """

    def __init__(
        self,
        lease: Lease,
        target: Target,
        golden: Golden,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.verified = Verification(0, 0.0)
        self._lease = lease
        self._target = target
        self._golden = golden
        self._clock = clock
        self._sleep = sleep
        self._settings = lease.settings
        self._bounds = bounds(lease.settings)
        self._before: Counts | None = None
        self._all = Counts()
        self._heard = clock()
        self._busy = clock()
        self._silent = False

    def stage(self, bundle: Bundle) -> Rollout:
        """Have the version loaded. What it had of the traffic it keeps."""
        try:
            self._target.stage(self._lease.rollout, bundle)
        except RolledBackError:
            raise
        except RolloutError as error:
            self._back(str(error))
            raise
        return self._lease.rollout

    def verify(self) -> Rollout:
        """Return the rollout with every stage passed, or rolled back.

        Raises
        ------
        RolloutError
            Another run or command took the rollout over.
        """
        try:
            self._verify()
        except _Enough:
            pass
        except RolledBackError as error:  # somebody changed the road, and tells the registry
            return self._lease.rollout.back(str(error))
        return self._lease.rollout

    def _verify(self) -> None:
        if self._lease.rollout.state == "staged":
            self._lease.move("ready")
        if self._lease.rollout.state == "ready":
            problem = self._ask_golden()
            if problem:
                raise self._back(problem)
            self._lease.move("verified")
        self._heard = self._busy = self._clock()
        for share in self._lease.rollout.left:
            self._obey()
            self._pass(share)
        self._obey()

    def _pass(self, share: int) -> None:
        """Let the version have a share for a time; take it off if it is bad."""
        self._lease.move("shifting", share=share)
        try:
            self._target.shift(self._lease.rollout)
        except RolledBackError:
            raise
        except RolloutError as error:
            raise self._back(str(error)) from error
        began = self._clock()
        problem = self._ask_golden()
        if problem:
            raise self._back(problem, self._stage(share, began, Counts(), None, problem))
        passed = self._watch(share, began)
        rollout = self._lease.rollout
        if passed.problem:
            raise self._back(passed.problem, passed)
        self._lease.put(replace(rollout, stages=(*_others(rollout, share), passed)))
        log.info("Stage: %s", passed)

    def _watch(self, share: int, began: float) -> Stage:
        """Look at the live traffic until time is up, it is seen to be bad, or nobody asks."""
        counts, last, spent = Counts(), self._clock(), 0.0
        self._look()  # what came before this stage is not of it
        while True:
            grown = self._look()
            counts = counts.plus(grown)
            now = self._clock()
            spent += 0 if self._lease.rollout.paused else now - last
            last = now
            judged = judge(counts, self._baseline(), self._bounds)
            if judged.problem or (
                not self._lease.rollout.paused and self._is_over(counts, spent, judged)
            ):
                problem = judged.problem or judged.doubt
                return self._stage(share, began, counts, judged, problem)
            self._obey()
            self._lease.renew()
            self._sleep(TICK_SECONDS)

    def _is_over(self, counts: Counts, spent: float, judged: Judgement) -> bool:
        if self._silent:  # that no figures are told is not that there are none
            return False
        if judged.doubt:
            return spent >= self._settings.stage_seconds + self._settings.ready_seconds
        quiet = not counts.traffic and self._clock() - self._busy >= self._settings.quiet_seconds
        return quiet or spent >= self._settings.stage_seconds

    def _look(self) -> Counts:
        """Return what was counted since the last look."""
        now = self._target.observe(self._lease.rollout)
        self._silent = now is None
        if now is None:
            if self._clock() - self._heard > self._settings.ready_seconds:
                raise self._back(
                    f"the server told no figures for {self._settings.ready_seconds:g} s"
                )
            return Counts()
        grown = Counts() if self._before is None else now.since(self._before)
        self._before, self._heard = now, self._clock()
        self._all = self._all.plus(grown)
        if grown.traffic:
            self._busy = self._clock()
        return grown

    def _baseline(self) -> Counts:
        """Return the whole rollout, with the champion's times of earlier where there are few."""
        asked = max(self._all.champion_seconds.values(), default=0)
        if asked >= self._bounds.min_requests or self._before is None:
            return self._all
        return replace(self._all, champion_seconds=self._before.champion_seconds)

    def _ask_golden(self) -> str:
        """Put the golden batch to the version; a server that is just restarted is waited for."""
        end = self._clock() + self._settings.ready_seconds
        while True:
            self.verified = self._target.verify(self._lease.rollout, self._golden)
            if not self.verified.unreachable or self._clock() > end:
                return self.verified.problem
            self._obey()
            self._lease.renew()
            self._sleep(TICK_SECONDS)

    def _stage(
        self, share: int, began: float, counts: Counts, judged: Judgement | None, problem: str
    ) -> Stage:
        difference = self.verified.difference if not self.verified.problem else None
        return Stage(
            share=share,
            seconds=round(self._clock() - began, 3),
            requests=counts.asked,
            champion_requests=round(counts.champion_requests),
            rows=counts.compared,
            golden=difference,
            champion_p99_ms=None if judged is None else judged.champion_p99_ms,
            figures=() if judged is None else judged.figures,
            problem=problem,
        )

    def _obey(self) -> None:
        """Do what a person wants of this rollout."""
        wish = self._lease.wish()
        if wish is None:
            return
        rollout = self._lease.rollout
        if wish.verb == "abort":
            raise self._back(f"aborted by {wish.by}")
        if wish.verb == "promote":
            self._lease.put(replace(rollout, by_hand=wish.by, paused=False))
            raise _Enough
        self._lease.put(replace(rollout, paused=wish.verb == "pause"))
        self._target.shift(self._lease.rollout)

    def _back(self, problem: str, stage: Stage | None = None) -> _Enough:
        """Take the version off the road, after noting that it is to be taken off."""
        rollout = self._lease.rollout
        if stage is not None:
            rollout = replace(rollout, stages=(*_others(rollout, stage.share), stage))
        self._lease.put(rollout.back(problem))
        log.warning("Rolled back: %s", stage or problem)
        self._target.roll_back(self._lease.rollout)
        return _Enough()


class _Enough(Exception):  # noqa: N818 - an end, not an error
    """There is nothing more to do."""


def _others(rollout: Rollout, share: int) -> tuple[Stage, ...]:
    return tuple(stage for stage in rollout.stages if stage.share != share)
