"""Drive a rollout through its stages: golden batch, live traffic, verdict."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising
from roadworthy.rollout.engine.analysis import Analysis, Bounds, TrafficStats, analyse
from roadworthy.rollout.engine.lease import ConflictError, Lease
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError, Stage
from roadworthy.rollout.engine.target import Target
from roadworthy.rollout.engine.verification import Verification

TICK_SECONDS = 0.2
"""How often the record is read for a user's command."""
LOOK_SECONDS = 1.0
"""The interval between two readings of the metrics; shorter in short stages."""
_LOOKS = 5
"""The fewest readings in a stage."""
FLUSH_SECONDS = 0.25
"""The interval at which a process of the server shares its counters with the others."""
SHOW_SECONDS = 2.0
"""The interval at which the stage that is under way is shown to users."""
_SCRAPES = 2
"""The fewest scrapes of a stage that is analysed: one may be of its first instant."""
_WHOLE = 100
_GOLDEN_BATCHES = 10
"""The most golden batches that a champion answered in its own rollout."""

log = logging.getLogger(__name__)


def bounds(settings: Settings) -> Bounds:
    """Return the limits of the settings."""
    return Bounds(
        max_error_rate=settings.max_error_rate,
        max_p99_ratio=settings.max_p99_ratio,
        p99_allowance_ms=settings.p99_allowance_ms,
        max_psi=settings.max_psi,
        max_difference=settings.max_difference,
        min_requests=settings.min_requests,
    )


class Driver:
    """Drives one version through the stages of its rollout that are left.

    A version that fails is removed from service at once.

    Parameters
    ----------
    lease
        The right to drive the rollout.
    target
        The place where the version is served.
    golden
        The golden batch of its bundle.
    tell
        Called again and again with the stage and its traffic, in words.
    clock, sleep
        Return the time in seconds, and wait for a number of seconds.

    Attributes
    ----------
    verified
        The last result of the golden batch.
    """

    def __init__(
        self,
        lease: Lease,
        target: Target,
        golden: Golden,
        *,
        tell: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.verified = Verification(0, 0.0)
        self._lease = lease
        self._target = target
        self._golden = golden
        self._tell = tell
        self._shown_at = -math.inf
        self._clock = clock
        self._sleep = sleep
        self._settings = lease.settings
        self._bounds = bounds(lease.settings)
        self._before: TrafficStats | None = None
        self._all = TrafficStats()
        self._read_at = clock()
        self._began = clock()
        self._used = any(not stage.quiet for stage in lease.rollout.stages)
        self._silent = False

    def stage(self, bundle: Bundle) -> Rollout:
        """Have the version loaded. It keeps its weight."""
        try:
            self._target.stage(self._lease.rollout, bundle, self._lease.renew)
        except (RolledBackError, ConflictError):
            raise
        except RolloutError as error:
            self._back(str(error))
            raise
        except RoadworthyError as error:  # such as of the store of bundles
            self._interrupt(error)
            raise
        return self._lease.rollout

    def verify(self) -> Rollout:
        """Return the rollout with every stage passed, or rolled back.

        If anything else ends it, such as Ctrl-C, the version is removed from service, as no process
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
        except RolledBackError as error:  # by a user, whose command updates MLflow
            rollout = self._lease.rollout
            return rollout if rollout.ended else rollout.back(str(error))
        except ConflictError:
            raise
        except BaseException as error:
            self._interrupt(error)
            raise
        return self._lease.rollout

    def _interrupt(self, error: BaseException) -> None:
        rollout = self._lease.rollout
        if rollout.ended:
            return
        reason = str(error) or type(error).__name__
        try:
            self._back(f"{rollout.owner} was interrupted: {reason}")
        except RoadworthyError as further:
            log.error("%s", further)  # noqa: TRY400 - the first error is raised

    def _verify(self) -> None:
        if self._lease.rollout.state == "staged":
            self._lease.move("ready")
        if self._lease.rollout.state == "ready":
            problem = self._send_golden()
            if problem:
                raise self._back(problem)
            self._lease.move("verified")
        if self._lease.rollout.left:
            self._check_metrics()
        self._read_at = self._began = self._clock()
        for weight in self._lease.rollout.left:
            self._apply_command()
            if self._lease.rollout.by_hand:
                return
            self._pass(weight)
        self._apply_command()

    def _check_metrics(self) -> None:
        """Note that the metrics cannot be read; remove the version if that is not allowed."""
        problem = self._target.metrics_problem(self._lease.rollout)
        if problem and self._settings.require_metrics:
            raise self._back(f"metrics are required (ROADWORTHY_REQUIRE_METRICS): {problem}")
        if problem:
            log.warning("Only golden batches are analysed. %s", problem)
        if problem != self._lease.rollout.metrics_problem:
            self._lease.put(replace(self._lease.rollout, metrics_problem=problem))

    def _pass(self, weight: int) -> None:
        """Give the version a weight for a time; remove it if it fails."""
        self._lease.move("shifting", weight=weight)
        try:
            self._target.shift(self._lease.rollout, self._lease.renew)
        except (RolledBackError, ConflictError):
            raise
        except RolloutError as error:
            raise self._back(str(error)) from error
        began, self._shown_at = self._clock(), -math.inf
        problem = self._send_golden()
        if problem:
            raise self._back(problem, self._stage(weight, began, TrafficStats(), None, problem))
        passed = self._watch(weight, began)
        rollout = self._lease.rollout
        if passed.problem:
            raise self._back(passed.problem, passed)
        self._lease.put(replace(rollout, live=None, stages=(*_others(rollout, weight), passed)))
        log.info("Stage: %s", passed)

    def _watch(self, weight: int, began: float) -> Stage:
        """Analyse the live traffic until the stage is over or the version fails."""
        stats, last, spent, read_at = TrafficStats(), self._clock(), 0.0, 0.0
        if self._used:  # the golden batch does not belong to this stage
            self._sleep(FLUSH_SECONDS)
        self._read()  # and neither does earlier traffic
        while True:
            now = self._clock()
            spent += 0 if self._lease.rollout.paused else now - last
            last = now
            if now >= read_at:
                stats = stats.plus(self._read())
                found = analyse(stats, self._all, self._bounds)
                self._show(self._stage(weight, began, stats, found, ""))
                inconclusive = found.inconclusive or self._unscraped(weight, stats)
                if found.problem or (
                    not self._lease.rollout.paused
                    and self._is_over(spent, inconclusive=bool(inconclusive))
                ):
                    problem = found.problem or inconclusive
                    return self._stage(weight, began, stats, found, problem)
                read_at = now + self._pause(spent)
            self._apply_command()
            self._lease.renew()
            self._sleep(TICK_SECONDS)

    def _show(self, stage: Stage) -> None:
        """Show the stage that is under way in the record, and tell the run."""
        if self._clock() - self._shown_at >= SHOW_SECONDS:
            self._shown_at = self._clock()
            self._lease.put(replace(self._lease.rollout, live=stage))
            self._tell(stage.progress)

    def _unscraped(self, weight: int, stats: TrafficStats) -> str:
        """Return what is wrong if the metrics were not scraped often enough in a stage."""
        rollout, reads = self._lease.rollout, stats.reads
        versions = [(rollout.version, reads)]
        if weight != _WHOLE:  # then the pods of a champion without requests may be removed
            versions.append((rollout.champion, stats.champion_reads))
        told = [f"version {number}" for number, read in versions if (read or 0) < _SCRAPES]
        if reads is None or not told:
            return ""
        what = f"did not read the metrics of {' and '.join(told)} twice in the stage"
        return f"{self._target.metrics_source} {what}{self._target.metrics_remedy}"

    def _is_over(self, spent: float, *, inconclusive: bool) -> bool:
        if self._silent:  # without metrics there may be traffic
            return False
        if inconclusive:
            return spent >= self._settings.stage_seconds + self._settings.ready_seconds
        # After a first request there will be more: only a stage of an unused model is cut short.
        quiet = not self._used and self._clock() - self._began >= self._settings.quiet_seconds
        return quiet or spent >= self._settings.stage_seconds

    def _pause(self, spent: float) -> float:
        """Return the seconds until the next reading, at most until the end of the stage."""
        long = min(LOOK_SECONDS, self._settings.stage_seconds / _LOOKS)
        ends = [self._settings.stage_seconds - spent]
        ends += [] if self._used else [self._began + self._settings.quiet_seconds - self._clock()]
        return min([long, *(end for end in ends if end > 0)])

    def _read(self) -> TrafficStats:
        """Return the traffic since the last reading."""
        now = self._observed()
        self._silent = now is None
        if now is None:
            if self._clock() - self._read_at > self._settings.ready_seconds:
                target, seconds = self._target, self._settings.ready_seconds
                problem = f"{target.metrics_source} returned no metrics for {seconds:g} s"
                raise self._back(f"{problem}{target.metrics_remedy}")
            return TrafficStats()
        if self._before is None:
            # More than its own golden batches: it has clients, if perhaps not at the moment.
            own = _GOLDEN_BATCHES * (len(self._golden.requests) + 1)
            self._used |= now.champion_requests > own
        grown = TrafficStats() if self._before is None else now.since(self._before)
        self._before, self._read_at = now, self._clock()
        self._all = self._all.plus(grown)
        self._used |= bool(grown.traffic)
        return grown

    def _observed(self) -> TrafficStats | None:
        try:
            return self._target.observe(self._lease.rollout)
        except RolledBackError:
            raise
        except RolloutError:
            self._lease.put(self._lease.rollout)  # raises another error if a user rolled it back
            raise

    def _send_golden(self) -> str:
        """Send the golden batch; wait for a server that is being restarted."""
        end = self._clock() + self._settings.ready_seconds
        while True:
            self.verified = self._target.verify(self._lease.rollout, self._golden)
            if not self.verified.unreachable or self._clock() > end:
                return self.verified.problem
            self._apply_command()
            self._lease.renew()
            self._sleep(TICK_SECONDS)

    def _stage(
        self, weight: int, began: float, stats: TrafficStats, found: Analysis | None, problem: str
    ) -> Stage:
        difference = self.verified.difference if not self.verified.problem else None
        return Stage(
            weight=weight,
            seconds=round(self._clock() - began, 3),
            # Without other traffic, late requests are those of its golden batch.
            requests=stats.asked if stats.traffic else 0,
            champion_requests=round(stats.champion_requests),
            rows=stats.compared,
            golden=difference,
            champion_p99_ms=None if found is None else found.champion_p99_ms,
            metrics=() if found is None else found.metrics,
            problem=problem,
            metrics_unavailable=stats.unavailable,
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
            if rollout.state == "ready":  # it must answer its golden batch all the same
                return
            raise _Enough
        self._lease.put(replace(rollout, paused=command.verb == "pause"))
        self._target.shift(self._lease.rollout, self._lease.renew)

    def _back(self, problem: str, stage: Stage | None = None) -> _Enough:
        """Remove the version from service before anything else."""
        rollout = self._lease.rollout
        if stage is not None:
            rollout = replace(rollout, stages=(*_others(rollout, stage.weight), stage))
        log.warning("Rolled back: %s", stage or problem)
        finalising.take_off(self._lease, self._target, rollout.back(problem))
        return _Enough()


class _Enough(Exception):  # noqa: N818 - an end, not an error
    """The rollout is over."""


def _others(rollout: Rollout, weight: int) -> tuple[Stage, ...]:
    return tuple(stage for stage in rollout.stages if stage.weight != weight)
