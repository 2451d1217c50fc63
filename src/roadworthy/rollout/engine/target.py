"""The interface of the places where versions are served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from roadworthy.bundles.bundle import Bundle, Golden
from roadworthy.rollout.engine.analysis import TrafficStats
from roadworthy.rollout.engine.record import RecordStore, RollbackIntent
from roadworthy.rollout.engine.state import Rollout, RolloutError, Strategy
from roadworthy.rollout.engine.verification import Verification


def nothing() -> None:
    """Do nothing."""


class NotDeployedError(RolloutError):
    """No version of the model is deployed any more, not even the champion."""


@dataclass(frozen=True)
class Status:
    """The status of a model in the place where it is served, whatever the registry says.

    Parameters
    ----------
    model
        The model's name.
    place
        What serves it, for people: ``the server at http://127.0.0.1:8080``, or
        ``NAME in the namespace roadworthy (Knative)``.
    url
        Its address; empty while it has none.
    champion, challenger
        The versions; 0 where there is none.
    weight
        The challenger's percent of the traffic.
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

    Every method that changes something may be repeated, whatever the state before; none stops the
    champion from answering. What fails raises a
    :class:`~roadworthy.rollout.engine.state.RolloutError`.
    """

    @property
    def records(self) -> RecordStore:
        """The records of the models that are served there."""
        ...

    @property
    def metrics_source(self) -> str:
        """What :meth:`observe` reads, in words."""
        ...

    @property
    def metrics_remedy(self) -> str:
        """What to do if it cannot be read, to follow a sentence."""
        ...

    def check(self, strategy: Strategy) -> None:
        """Refuse a strategy that this place does not support, before anything is changed."""
        ...

    def stage(
        self, rollout: Rollout, bundle: Bundle, meanwhile: Callable[[], None] = nothing
    ) -> None:
        """Load the version beside the champion; return when it answers requests that name it.

        ``meanwhile`` is called again and again until then.
        """
        ...

    def shift(self, rollout: Rollout, meanwhile: Callable[[], None] = nothing) -> None:
        """Give the version the rollout's weight; return when it has it.

        ``meanwhile`` is called again and again until then.
        """
        ...

    def verify(self, rollout: Rollout, golden: Golden) -> Verification:
        """Send the golden batch to the version through the endpoint."""
        ...

    def metrics_problem(self, rollout: Rollout) -> str:
        """Return why the metrics of a rollout cannot be read, in a sentence; empty if they can.

        After a problem :meth:`observe` returns stats that are ``unavailable``.
        """
        ...

    def observe(self, rollout: Rollout) -> TrafficStats | None:
        """Return the traffic of the champion and the version so far; None if it cannot be read."""
        ...

    def promote(self, rollout: Rollout) -> None:
        """Give the version all traffic, and remember the champion before it."""
        ...

    def roll_back(self, rollout: Rollout, *, finish: bool = True) -> None:
        """Remove the version from service; the champion gets all traffic.

        Parameters
        ----------
        finish
            Whether to wait for slow work that does not affect responses.

        Raises
        ------
        NotDeployedError
            It is removed, but the champion is not deployed either.
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
        """Return the version that a rollback deploys again; 0 if only MLflow knows it."""
        ...

    def put_back(self, intent: RollbackIntent) -> None:
        """Write the intent, and make its champion the only version, whatever is deployed.

        Raises
        ------
        RolledBackError
            Another rollback is pending.
        RoadworthyError
            Its bundle is unavailable, or it does not become ready: the versions that answered
            before still do, and the intent is removed.
        """
        ...

    def wait_for(self, intent: RollbackIntent) -> str:
        """Wait until the intent's champion answers, and return its address.

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
        """Make the traffic follow a pending intent, as the process that wrote it may be dead.

        Returns
        -------
        bool
            Whether it does. If not, the intent is removed, and that is logged.
        """
        ...

    def status(self, model: str) -> Status:
        """Return the status of the model here. A place out of reach is a problem, never raised."""
        ...
