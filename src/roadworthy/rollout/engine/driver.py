"""Drives a rollout through its stages: golden batch, live traffic, verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising
from roadworthy.rollout.engine.analysis import Bounds, Counts, Judgement, judge
from roadworthy.rollout.engine.lease import ConflictError, Lease
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError, Stage
from roadworthy.rollout.engine.target import Target
from roadworthy.rollout.engine.verification import Verification

TICK_SECONDS = 0.2
"""How often the record is read for a user's command."""
LOOK_SECONDS = 1.0
"""How often the figures are looked at; in short stages more often."""
_LOOKS = 5
"""How often they are looked at in a stage, at least."""
FLUSH_SECONDS = 0.25
"""A process of the server tells what it counted to the others after so long."""
_READS = 2
"""A stage was watched if the figures were read so often in it: one may be of its first instant."""
_WHOLE = 100
_GOLDEN_BATCHES = 10
"""How often a champion was asked its golden batch in its own rollout, at most."""

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

    A version that is bad is removed from service at once.

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
        self._began = clock()
        self._used = any(not stage.quiet for stage in lease.rollout.stages)
        self._silent = False

    def stage(self, bundle: Bundle) -> Rollout:
        """Have the version loaded. What it had of the traffic it keeps."""
        try:
            self._target.stage(self._lease.rollout, bundle, self._lease.renew)
        except (RolledBackError, ConflictError):
            raise
        except RolloutError as error:
            self._back(str(error))
            raise
        except RoadworthyError as error:  # the store does not take the bundle, perhaps
            self._break_off(error)
            raise
        return self._lease.rollout

    def verify(self) -> Rollout:
        """Return the rollout with every stage passed, or rolled back.

        Whatever else ends it, such as Ctrl-C, the version is removed from service, as no process
        watches it any more.

        Raises
        ------
        ConflictError
            Another run or command took the rollout over.
        RolloutError
            The record cannot be read or written.
        """
        try:
            self._verify()
        except _Enough:
            pass
        except RolledBackError as error:  # by a user, whose command tells MLflow
            rollout = self._lease.rollout
            return rollout if rollout.ended else rollout.back(str(error))
        except ConflictError:
            raise
        except BaseException as error:
            self._break_off(error)
            raise
        return self._lease.rollout

    def _break_off(self, error: BaseException) -> None:
        rollout = self._lease.rollout
        if rollout.ended:
            return
        reason = str(error) or type(error).__name__
        try:
            self._back(f"{rollout.owner} broke off: {reason}")
        except RoadworthyError as further:
            log.error("%s", further)  # noqa: TRY400 - a sentence, and the first error is raised

    def _verify(self) -> None:
        if self._lease.rollout.state == "staged":
            self._lease.move("ready")
        if self._lease.rollout.state == "ready":
            problem = self._ask_golden()
            if problem:
                raise self._back(problem)
            self._lease.move("verified")
        self._heard = self._began = self._clock()
        for weight in self._lease.rollout.left:
            self._apply_command()
            if self._lease.rollout.by_hand:
                return
            self._pass(weight)
        self._apply_command()

    def _pass(self, weight: int) -> None:
        """Let the version have a weight for a time; take it off if it is bad."""
        self._lease.move("shifting", weight=weight)
        try:
            self._target.shift(self._lease.rollout, self._lease.renew)
        except (RolledBackError, ConflictError):
            raise
        except RolloutError as error:
            raise self._back(str(error)) from error
        began = self._clock()
        problem = self._ask_golden()
        if problem:
            raise self._back(problem, self._stage(weight, began, Counts(), None, problem))
        passed = self._watch(weight, began)
        rollout = self._lease.rollout
        if passed.problem:
            raise self._back(passed.problem, passed)
        self._lease.put(replace(rollout, stages=(*_others(rollout, weight), passed)))
        log.info("Stage: %s", passed)

    def _watch(self, weight: int, began: float) -> Stage:
        """Look at the live traffic until time is up, it is seen to be bad, or nobody asks."""
        counts, last, spent, look_at = Counts(), self._clock(), 0.0, 0.0
        if self._used:  # the golden batch is not of this stage
            self._sleep(FLUSH_SECONDS)
        self._look()  # and neither is what came before
        while True:
            now = self._clock()
            spent += 0 if self._lease.rollout.paused else now - last
            last = now
            if now >= look_at:
                counts = counts.plus(self._look())
                judged = judge(counts, self._baseline(), self._bounds)
                unread = self._unread(weight, counts)
                if judged.problem or (
                    not self._lease.rollout.paused
                    and self._is_over(spent, in_doubt=bool(judged.doubt or unread))
                ):
                    problem = judged.problem or judged.doubt or unread
                    return self._stage(weight, began, counts, judged, problem)
                look_at = now + self._pause(spent)
            self._apply_command()
            self._lease.renew()
            self._sleep(TICK_SECONDS)

    def _unread(self, weight: int, counts: Counts) -> str:
        """Return what is wrong if the figures were not read often enough in a stage."""
        rollout, reads = self._lease.rollout, counts.reads
        versions = [(rollout.version, reads)]
        if weight != _WHOLE:  # then a place may take away the pods of a champion that nobody asks
            versions.append((rollout.champion, counts.champion_reads))
        told = [f"version {number}" for number, read in versions if (read or 0) < _READS]
        if reads is None or not told:
            return ""
        return (
            f"Prometheus did not read the figures of {' and '.join(told)} twice in the stage: let "
            f"it read the pods of the model more often than every "
            f"{self._settings.stage_seconds:g} s, or unset ROADWORTHY_PROMETHEUS_URL to roll out "
            f"without figures"
        )

    def _is_over(self, spent: float, *, in_doubt: bool) -> bool:
        if self._silent:  # that no figures are told is not that there are none
            return False
        if in_doubt:
            return spent >= self._settings.stage_seconds + self._settings.ready_seconds
        # Once somebody has asked, more will: only what nobody uses is not waited for.
        quiet = not self._used and self._clock() - self._began >= self._settings.quiet_seconds
        return quiet or spent >= self._settings.stage_seconds

    def _pause(self, spent: float) -> float:
        """Return how long not to look at the figures; at the end of a stage they are looked at."""
        long = min(LOOK_SECONDS, self._settings.stage_seconds / _LOOKS)
        ends = [self._settings.stage_seconds - spent]
        ends += [] if self._used else [self._began + self._settings.quiet_seconds - self._clock()]
        return min([long, *(end for end in ends if end > 0)])

    def _look(self) -> Counts:
        """Return what was counted since the last look."""
        now = self._observed()
        self._silent = now is None
        if now is None:
            if self._clock() - self._heard > self._settings.ready_seconds:
                raise self._back(self._silence())
            return Counts()
        if self._before is None:
            # More than its own golden batches: customers use it, if perhaps not in this moment.
            own = _GOLDEN_BATCHES * (len(self._golden.requests) + 1)
            self._used |= now.champion_requests > own
        grown = Counts() if self._before is None else now.since(self._before)
        self._before, self._heard = now, self._clock()
        self._all = self._all.plus(grown)
        self._used |= bool(grown.traffic)
        return grown

    def _observed(self) -> Counts | None:
        try:
            return self._target.observe(self._lease.rollout)
        except RolledBackError:
            raise
        except RolloutError:
            self._lease.put(self._lease.rollout)  # which tells whether that was a user's rollback
            raise

    def _silence(self) -> str:
        settings = self._settings
        if settings.target == "local":
            return f"the server told no figures for {settings.ready_seconds:g} s"
        return (
            f"Prometheus told no figures for {settings.ready_seconds:g} s: name one that answers "
            f"in ROADWORTHY_PROMETHEUS_URL, or unset it to roll out without figures"
        )

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
            self._apply_command()
            self._lease.renew()
            self._sleep(TICK_SECONDS)

    def _stage(
        self, weight: int, began: float, counts: Counts, judged: Judgement | None, problem: str
    ) -> Stage:
        difference = self.verified.difference if not self.verified.problem else None
        return Stage(
            weight=weight,
            seconds=round(self._clock() - began, 3),
            # Where no customer asks, what is counted late is its golden batch.
            requests=counts.asked if counts.traffic else 0,
            champion_requests=round(counts.champion_requests),
            rows=counts.compared,
            golden=difference,
            champion_p99_ms=None if judged is None else judged.champion_p99_ms,
            figures=() if judged is None else judged.figures,
            problem=problem,
            blind=counts.blind,
        )

    def _apply_command(self) -> None:
        """Apply a user's command to this rollout."""
        command = self._lease.command()
        if command is None:
            return
        rollout = self._lease.rollout
        if command.verb == "abort":
            raise self._back(f"aborted by {command.by}")
        if command.verb == "promote":
            self._lease.put(replace(rollout, by_hand=command.by, paused=False))
            if rollout.state == "ready":  # its golden batch it has to answer all the same
                return
            raise _Enough
        self._lease.put(replace(rollout, paused=command.verb == "pause"))
        self._target.shift(self._lease.rollout, self._lease.renew)

    def _back(self, problem: str, stage: Stage | None = None) -> _Enough:
        """Remove the version from service, before anything else."""
        rollout = self._lease.rollout
        if stage is not None:
            rollout = replace(rollout, stages=(*_others(rollout, stage.weight), stage))
        log.warning("Rolled back: %s", stage or problem)
        finalising.take_off(self._lease, self._target, rollout.back(problem))
        return _Enough()


class _Enough(Exception):  # noqa: N818 - an end, not an error
    """There is nothing more to do."""


def _others(rollout: Rollout, weight: int) -> tuple[Stage, ...]:
    return tuple(stage for stage in rollout.stages if stage.weight != weight)
