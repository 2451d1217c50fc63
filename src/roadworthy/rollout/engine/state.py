"""A rollout as a value: its state, the results of its stages, and the states that may follow.

Nothing here reads a clock, a file or a registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from roadworthy.core.errors import ExitCode, RoadworthyError
from roadworthy.core.stored import formerly

State = Literal["staged", "ready", "verified", "shifting", "promoted", "rolled back"]
"""The state of a rollout: the version is to be loaded; it is loaded; it answered its golden batch;
it gets a weight of the traffic; it is the champion; it is removed from service."""
Verb = Literal["pause", "resume", "promote", "abort"]
Strategy = Literal["canary", "blue-green", "rolling"]

NEXT: Mapping[State, frozenset[State]] = {
    "staged": frozenset({"ready", "rolled back"}),
    "ready": frozenset({"verified", "rolled back"}),
    "verified": frozenset({"shifting", "promoted", "rolled back"}),
    "shifting": frozenset({"shifting", "promoted", "rolled back"}),
    "promoted": frozenset(),
    "rolled back": frozenset(),
}
"""The states that may follow each state."""
WEIGHTS: Mapping[Strategy, tuple[int, ...]] = {
    "canary": (0, 10, 50, 100),
    "blue-green": (0, 100),
    "rolling": (0, 100),
}
"""The weights of the traffic that the stages of a strategy give, in percent."""

_FORMER = {
    "weight": "share",
    "metrics": "figures",
    "conclusive": "judged",
    "metrics_unavailable": "blind",
}
"""The names that the release before had for keys of JSON, which are printed for one release."""
_LONGEST = 400
"""The most characters of a problem that are kept: a tag in MLflow holds 5000 in all."""


class RolloutError(RoadworthyError):
    """A version cannot be deployed."""


class RefusedError(RolloutError):
    """The server cannot serve a version, and the version is the cause."""

    exit_code = ExitCode.ROLLED_BACK


class RolledBackError(RolloutError):
    """A version is removed from service again: it failed, or a user aborted it."""

    exit_code = ExitCode.ROLLED_BACK


@dataclass(frozen=True)
class MetricResult:
    """The value of a metric in a stage, with its limit.

    Parameters
    ----------
    name
        ``error_rate``, ``median_ms``, ``p99_ms``, ``psi`` or ``difference``.
    value
        The value; None where there is none.
    limit
        The greatest value that is allowed.
    conclusive
        Whether there was enough traffic for a result.
    passed
        Whether the value is allowed; an inconclusive one is.
    """

    name: str
    value: float | None
    limit: float
    conclusive: Annotated[bool, formerly("conclusive", "judged")] = True
    passed: bool = True


@dataclass(frozen=True)
class Stage:
    """The result of the time in which the challenger had one weight of the traffic.

    Parameters
    ----------
    weight
        The weight in percent.
    seconds
        How long it lasted.
    requests
        The number of clients' requests to the challenger, including those that named it and those
        that the champion answered in its place; its golden batch is not counted.
    champion_requests
        The number of requests that the champion answered meanwhile.
    rows
        The number of rows that both answered, for comparison.
    golden
        The greatest relative difference of the golden batch; None where it was not answered.
    champion_p99_ms
        The 99th percentile of the champion's model time over the rollout; None where it had no
        request.
    metrics
        The metrics, each with its limit.
    problem
        Why the stage failed; empty if it passed.
    metrics_unavailable
        Whether no metrics are collected where the version is served.
    """

    weight: Annotated[int, formerly("weight", "share")]
    seconds: float
    requests: int = 0
    champion_requests: int = 0
    rows: int = 0
    golden: float | None = None
    champion_p99_ms: float | None = None
    metrics: Annotated[tuple[MetricResult, ...], formerly("metrics", "figures")] = ()
    problem: str = ""
    metrics_unavailable: Annotated[bool, formerly("metrics_unavailable", "blind")] = False

    @property
    def quiet(self) -> bool:
        """Whether it is known that no client sent a request."""
        seen = self.requests or self.champion_requests or self.rows
        return not (self.metrics_unavailable or seen)

    @property
    def traffic(self) -> str:
        """The challenger's part of the requests, in words."""
        if self.metrics_unavailable:
            return "requests not counted"
        if self.quiet:
            return "no live request"
        return f"{self.requests} of {self.requests + self.champion_requests} requests"

    @property
    def progress(self) -> str:
        """The stage while it is under way, in words."""
        return f"{self.weight} % for {self.seconds:.0f} s: {self._measured}"

    @property
    def _measured(self) -> str:
        metrics = [
            f"{metric.name} {metric.value:.3g} of {metric.limit:.3g}"
            for metric in self.metrics
            if metric.value is not None
        ]
        return ", ".join([self.traffic, *metrics])

    def __str__(self) -> str:
        """Return the result in words, for the log."""
        told = self.problem or "passed"
        return f"{self.weight} % for {self.seconds:.1f} s: {told} ({self._measured})"


@dataclass(frozen=True)
class Rollout:
    """The rollout of one version.

    Parameters
    ----------
    model, version
        The version that is rolled out.
    champion
        The version that was deployed when it began; 0 before the first release.
    strategy
        How the traffic is shifted.
    owner
        The run or command that drives it.
    holder
        The process of the owner, see :mod:`roadworthy.core.process_id`.
    started, renewed
        ISO 8601 times: when it began, and when its owner last renewed its lease.
    state, weight, paused
        Its state, and the weight in percent.
    stages
        The results so far, without those of a stage that was interrupted.
    live
        The stage that is under way, as it was some seconds ago; None if none is.
    problem
        Why it was rolled back.
    metrics_problem
        Why its metrics cannot be read, so that only golden batches are analysed; empty if they can.
    by_hand
        The user who promoted it before all stages had passed, or empty.
    actor, why
        The user who drives it, and why the version was released, for the tags of its promotion.
    settled
        Whether routing, aliases and tags show the end of the rollout.
    """

    model: str
    version: int
    champion: int
    strategy: Strategy
    owner: str = ""
    holder: str = ""
    started: str = ""
    renewed: str = "1970-01-01T00:00:00+00:00"
    state: State = "staged"
    weight: Annotated[int, formerly("weight", "share")] = 0
    paused: bool = False
    stages: tuple[Stage, ...] = ()
    live: Stage | None = None
    problem: str = ""
    metrics_problem: str = ""
    by_hand: str = ""
    actor: str = ""
    why: str = ""
    settled: bool = False

    @property
    def ended(self) -> bool:
        """Whether the version is promoted or rolled back."""
        return not NEXT[self.state]

    @property
    def plan(self) -> tuple[int, ...]:
        """The weights of its stages; none where no other champion has traffic to shift."""
        return () if self.champion in (0, self.version) else WEIGHTS[self.strategy]

    @property
    def left(self) -> tuple[int, ...]:
        """The weights of the stages that it has not passed yet."""
        passed = {stage.weight for stage in self.stages if not stage.problem}
        return tuple(weight for weight in self.plan if weight not in passed)

    def moved(self, state: State, **changes: Any) -> Self:
        """Return it in another state.

        Raises
        ------
        RolloutError
            That state may not follow, or a stage is left before its promotion.
        """
        if state not in NEXT[self.state]:
            raise RolloutError(
                f"The rollout of {self.model} version {self.version} is {self.state}, so it cannot "
                f"become {state}. `roadworthy rollout status {self.model}` shows its state."
            )
        after = replace(self, state=state, live=None, **changes)
        if state == "promoted" and after.left and not after.by_hand:
            raise RolloutError(
                f"Version {self.version} of {self.model} has not passed the stages at "
                f"{_listed(after.left)} yet, so it is not promoted. Wait for the rollout, or run "
                f"`roadworthy rollout promote {self.model}`."
            )
        return after

    def back(self, problem: str) -> Self:
        """Return it rolled back."""
        return self.moved(
            "rolled back", problem=_short(problem), weight=0, paused=False, settled=False
        )

    def overruled(self, problem: str) -> Self:
        """Return it rolled back and settled, also where its promotion had begun meanwhile."""
        told = self.problem or _short(problem)
        return replace(
            self, state="rolled back", live=None, problem=told, weight=0, paused=False, settled=True
        )

    def verdict(self) -> dict[str, Any]:
        """Return how it ended, with its metrics, as plain values, without its process."""
        kept = asdict(self)
        for name in ("holder", "renewed", "paused", "settled", "live"):
            del kept[name]
        return kept

    def __str__(self) -> str:
        """Return its state in words."""
        told = f"version {self.version} of {self.model}"
        if self.state == "promoted":
            how = f" by {self.by_hand}" if self.by_hand else ""
            return f"{told} is promoted{how}"
        if self.state == "rolled back":
            return f"{told} is rolled back: {self.problem}"
        pause = ", paused" if self.paused else ""
        return f"{told} is {self.state} at {self.weight} %{pause}"


def with_former_names(told: Any) -> Any:
    """Return plain values that have each renamed key under its former name, too."""
    if isinstance(told, list | tuple):
        return [with_former_names(one) for one in told]
    if not isinstance(told, dict):
        return told
    named = {key: with_former_names(value) for key, value in told.items()}
    return named | {_FORMER[key]: value for key, value in named.items() if key in _FORMER}


def is_fresh(rollout: Rollout, now: datetime, lease_seconds: float) -> bool:
    """Return whether the lease of its owner is valid."""
    age = now - datetime.fromisoformat(rollout.renewed)
    return age <= timedelta(seconds=lease_seconds)


def _short(problem: str) -> str:
    told = " ".join(problem.split())
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"


def _listed(weights: tuple[int, ...]) -> str:
    return ", ".join(f"{weight} %" for weight in weights)
