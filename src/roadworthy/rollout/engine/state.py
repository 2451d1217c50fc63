"""A rollout as a value: where it is, what each stage showed, and where it may go from there.

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
"""Where a rollout is: the version is to be loaded; it is; it answered its golden batch; it gets a
weight of the traffic; it is the champion; it is removed from service."""
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
"""Which state may follow which."""
WEIGHTS: Mapping[Strategy, tuple[int, ...]] = {
    "canary": (0, 10, 50, 100),
    "blue-green": (0, 100),
    "rolling": (0, 100),
}
"""The weights of the traffic that the stages of a strategy give, in percent."""

_LONGEST = 400
"""How many characters of a problem are kept: a tag in MLflow holds 5000 in all."""


class RolloutError(RoadworthyError):
    """A version cannot be deployed."""


class RefusedError(RolloutError):
    """What serves a version cannot: it is the version's own fault."""

    exit_code = ExitCode.ROLLED_BACK


class RolledBackError(RolloutError):
    """A version is removed from service again, because it was bad or a person said so."""

    exit_code = ExitCode.ROLLED_BACK


@dataclass(frozen=True)
class Figure:
    """What a stage found of one thing, and what is allowed.

    Parameters
    ----------
    name
        ``error_rate``, ``p99_ms``, ``psi`` or ``difference``.
    value
        What was found; None where nothing was.
    limit
        The greatest value that is allowed.
    judged
        Whether there was enough to judge it by.
    passed
        Whether it may go on; what is not judged passes.
    """

    name: str
    value: float | None
    limit: float
    judged: bool = True
    passed: bool = True


@dataclass(frozen=True)
class Stage:
    """What happened while the challenger had one weight of the traffic.

    Parameters
    ----------
    weight
        The weight in percent.
    seconds
        How long it lasted.
    requests
        How many requests the challenger was asked, those that named it and those that the champion
        had to answer in its place included; its golden batch is not, and none where no customer
        asked anything.
    champion_requests
        How many requests the champion answered meanwhile.
    rows
        How many rows both answered, for comparison.
    golden
        The greatest relative difference of the golden batch; None where it was not answered.
    champion_p99_ms
        The champion's 99th percentile over the rollout; None where nobody asked it.
    figures
        What was found, each with its bound.
    problem
        Why the stage failed; empty if it passed.
    blind
        Whether nobody counts what is asked where the version is served.
    """

    weight: Annotated[int, formerly("weight", "share")]
    seconds: float
    requests: int = 0
    champion_requests: int = 0
    rows: int = 0
    golden: float | None = None
    champion_p99_ms: float | None = None
    figures: tuple[Figure, ...] = ()
    problem: str = ""
    blind: bool = False

    @property
    def quiet(self) -> bool:
        """Whether it is known that nobody asked anything."""
        return not (self.blind or self.requests or self.champion_requests or self.rows)

    @property
    def traffic(self) -> str:
        """How many of the requests the challenger was asked, in words."""
        if self.blind:
            return "requests not counted"
        if self.quiet:
            return "no live request"
        return f"{self.requests} of {self.requests + self.champion_requests} requests"

    def __str__(self) -> str:
        """Return what it showed, for the log."""
        figures = [
            f"{figure.name} {figure.value:.3g} of {figure.limit:.3g}"
            for figure in self.figures
            if figure.value is not None
        ]
        told = ", ".join([self.traffic, *figures])
        return f"{self.weight} % for {self.seconds:.1f} s: {self.problem or 'passed'} ({told})"


@dataclass(frozen=True)
class Rollout:
    """The rollout of one version.

    Parameters
    ----------
    model, version
        Which version it is.
    champion
        The version that answered when it began; 0 before the first release.
    strategy
        How the traffic is moved.
    owner
        The run or command that drives it.
    holder
        The process of the owner, see :mod:`roadworthy.core.process_id`.
    started, renewed
        ISO 8601 times: when it began, and when its owner last said that it goes on.
    state, weight, paused
        Where it is.
    stages
        What was found so far. A stage that was broken off is not among them.
    problem
        Why it was rolled back.
    by_hand
        Who promoted it before all stages had passed, or empty.
    actor, why
        Who drives it, and why the version was released: for the note of its promotion.
    settled
        Whether routing, aliases and tags say what an ended rollout came to.
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
    problem: str = ""
    by_hand: str = ""
    actor: str = ""
    why: str = ""
    settled: bool = False

    @property
    def ended(self) -> bool:
        """Whether it is deployed for good or off it."""
        return not NEXT[self.state]

    @property
    def plan(self) -> tuple[int, ...]:
        """The weights that it goes through; none where there is no other champion to split with."""
        return () if self.champion in (0, self.version) else WEIGHTS[self.strategy]

    @property
    def left(self) -> tuple[int, ...]:
        """The weights that it has not passed yet."""
        passed = {stage.weight for stage in self.stages if not stage.problem}
        return tuple(weight for weight in self.plan if weight not in passed)

    def moved(self, state: State, **changes: Any) -> Self:
        """Return it in another state.

        Raises
        ------
        RolloutError
            That state may not follow, or it would be promoted although a stage is left.
        """
        if state not in NEXT[self.state]:
            raise RolloutError(
                f"The rollout of {self.model} version {self.version} is {self.state}, so it cannot "
                f"become {state}. `roadworthy rollout status {self.model}` tells how it stands."
            )
        after = replace(self, state=state, **changes)
        if state == "promoted" and after.left and not after.by_hand:
            raise RolloutError(
                f"Version {self.version} of {self.model} has not passed the stages at "
                f"{_listed(after.left)} yet, so it is not promoted. Let the rollout go on, or say "
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
            self, state="rolled back", problem=told, weight=0, paused=False, settled=True
        )

    def verdict(self) -> dict[str, Any]:
        """Return how it ended, with its numbers, as plain values: who held it is left out."""
        kept = asdict(self)
        for name in ("holder", "renewed", "paused", "settled"):
            del kept[name]
        return kept

    def __str__(self) -> str:
        """Return how it stands, for people."""
        told = f"version {self.version} of {self.model}"
        if self.state == "promoted":
            how = f" by {self.by_hand}" if self.by_hand else ""
            return f"{told} is promoted{how}"
        if self.state == "rolled back":
            return f"{told} is rolled back: {self.problem}"
        pause = ", paused" if self.paused else ""
        return f"{told} is {self.state} at {self.weight} %{pause}"


def is_fresh(rollout: Rollout, now: datetime, lease_seconds: float) -> bool:
    """Return whether its owner said lately that it goes on."""
    age = now - datetime.fromisoformat(rollout.renewed)
    return age <= timedelta(seconds=lease_seconds)


def _short(problem: str) -> str:
    told = " ".join(problem.split())
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"


def _listed(weights: tuple[int, ...]) -> str:
    return ", ".join(f"{weight} %" for weight in weights)
