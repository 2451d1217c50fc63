"""What a rollout needs of the place where versions are served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.rollout.engine.analysis import Counts
from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import Rollout, RolloutError, Strategy
from roadworthy.rollout.engine.verification import Verification


def nothing() -> None:
    """Do nothing."""


class GoneError(RolloutError):
    """Nothing of the model is there any more: neither the version nor the champion."""


@dataclass(frozen=True)
class Standing:
    """How a model stands where it is served, as that place tells it, not the registry.

    Parameters
    ----------
    model
        The model's name.
    place
        What serves it, for people: ``the server at http://127.0.0.1:8080``, or
        ``fuel in the namespace roadworthy (Knative)``.
    url
        Where it is asked; empty while it is nowhere.
    champion, challenger
        The versions; 0 where there is none.
    share
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
    share: int = 0
    ready: bool = False
    problem: str = ""


class Target(Protocol):
    """A place where versions are served.

    Every verb makes the place what the rollout says, whatever it was before, so it can be repeated;
    none of them stops the champion from answering. What fails raises a
    :class:`~roadworthy.rollout.engine.state.RolloutError`.
    """

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
        """Give the version the rollout's share; return when it has it.

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

    def roll_back(self, rollout: Rollout, left: Note | None = None) -> None:
        """Take the version off; the champion answers everybody.

        ``left`` is what the registry does not know of it yet: kept for whoever comes next.

        Raises
        ------
        GoneError
            It is off, and so is the champion.
        """
        ...

    def left(self, model: str) -> Note | None:
        """Return what a rollback here left to be told to the registry, or None."""
        ...

    def redo(self, note: Note) -> bool:
        """Make the place as a note says that was found: who wrote it may have died before.

        Returns
        -------
        bool
            Whether it is so. If not, the note is withdrawn, and that is told.
        """
        ...

    def clear(self, note: Note) -> None:
        """Forget a note that the registry was told; one that came since stays."""
        ...

    def standing(self, model: str) -> Standing:
        """Return how the model stands here. What cannot be reached is a problem, never raised."""
        ...
