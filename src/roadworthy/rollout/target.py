"""What a rollout needs of the place where versions are served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from roadworthy.bundle import Bundle, Golden
from roadworthy.rollout.judgement import Counts
from roadworthy.rollout.note import Note
from roadworthy.rollout.state import Rollout, Strategy
from roadworthy.rollout.verification import Verification


def nothing() -> None:
    """Do nothing."""


class Target(Protocol):
    """A place where versions are served.

    Every verb makes the place what the rollout says, whatever it was before, so it can be repeated;
    none of them stops the champion from answering. What fails raises a
    :class:`~roadworthy.rollout.state.RolloutError`.
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
        """
        ...
