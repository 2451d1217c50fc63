"""What a rollout needs of the place where versions are served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.rollout.engine.analysis import Counts
from roadworthy.rollout.engine.record import RecordStore, RollbackIntent
from roadworthy.rollout.engine.state import Rollout, RolloutError, Strategy
from roadworthy.rollout.engine.verification import Verification


def nothing() -> None:
    """Do nothing."""


class NotDeployedError(RolloutError):
    """Nothing of the model is deployed any more: neither the version nor the champion."""


@dataclass(frozen=True)
class Status:
    """How a model stands where it is served, as that place tells it, not the registry.

    Parameters
    ----------
    model
        The model's name.
    place
        What serves it, for people: ``the server at http://127.0.0.1:8080``, or
        ``NAME in the namespace roadworthy (Knative)``.
    url
        Where it is asked; empty while it is nowhere.
    champion, challenger
        The versions; 0 where there is none.
    weight
        The percent of the traffic that the challenger has.
    ready
        Whether it answers.
    problem
        What is wrong, in a sentence; empty if nothing is.
    """

    model: str
    place: str
    url: str = ""
    champion: int = 0
    challenger: int = 0
    weight: int = 0
    ready: bool = False
    problem: str = ""


class Target(Protocol):
    """A place where versions are served.

    Every method that changes something makes the place what it is told to be, whatever it was
    before, so it can be repeated; none stops the champion from answering. What fails raises a
    :class:`~roadworthy.rollout.engine.state.RolloutError`.
    """

    @property
    def records(self) -> RecordStore:
        """The records of the models that are served there."""
        ...

    def check(self, strategy: Strategy) -> None:
        """Refuse a strategy that this place cannot do, before anything is changed."""
        ...

    def stage(
        self, rollout: Rollout, bundle: Bundle, meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Load the version beside the champion; return when it answers those who ask for it.

        ``meanwhile`` is called again and again until then.
        """
        ...

    def shift(self, rollout: Rollout, meanwhile: Callable[[], None] = nothing) -> None:
        """Give the version the rollout's weight; return when it has it.

        ``meanwhile`` is called again and again until then.
        """
        ...

    def verify(self, rollout: Rollout, golden: Golden) -> Verification:
        """Put the golden batch to the version through the endpoint."""
        ...

    def observe(self, rollout: Rollout) -> Counts | None:
        """Return what was counted so far of the champion and the version; None if nobody tells."""
        ...

    def promote(self, rollout: Rollout) -> None:
        """Let the version answer everybody, and keep in mind which one it follows."""
        ...

    def roll_back(self, rollout: Rollout, *, finish: bool = True) -> None:
        """Remove the version from service; the champion answers everybody.

        Parameters
        ----------
        finish
            Whether to wait for what may take long and changes no answer any more.

        Raises
        ------
        NotDeployedError
            It is removed, and so is the champion.
        """
        ...

    def deployed(self, model: str) -> tuple[int, int]:
        """Return the versions of the champion and the challenger; 0 where there is none.

        Raises
        ------
        RolloutError
            That cannot be read.
        """
        ...

    def former(self, model: str) -> int:
        """Return which version a rollback goes back to; 0 if only MLflow knows."""
        ...

    def put_back(self, intent: RollbackIntent) -> None:
        """Write the intent, and make its champion the only version, whatever is deployed.

        Raises
        ------
        RolledBackError
            Another rollback is pending.
        RoadworthyError
            Its bundle is not to be had, or it does not come up: what answered before still does,
            and the intent is removed.
        """
        ...

    def wait_for(self, intent: RollbackIntent) -> str:
        """Return the address where the intent's champion answers, once it does.

        Returns
        -------
        str
            The address; empty if nothing serves the model yet.

        Raises
        ------
        RolloutError
            It does not within ``settings.ready_seconds``.
        """
        ...

    def redo(self, intent: RollbackIntent) -> bool:
        """Make the traffic follow a pending intent: whoever wrote it may have died before.

        Returns
        -------
        bool
            Whether it does. If not, the intent is removed, and that is logged.
        """
        ...

    def status(self, model: str) -> Status:
        """Return how the model stands here. What cannot be reached is a problem, never raised."""
        ...
