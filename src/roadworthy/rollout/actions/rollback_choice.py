"""Which version a rollback goes back to, and what it takes from service, wherever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import RolloutError

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Registry, Version


class Undone(Protocol):
    """A rollback that shows where the model is served, and of which the registry is to be told."""

    @property
    def note(self) -> Note:
        """What is to be recorded."""
        ...

    def wait(self) -> str:
        """Return the address where the version answers, when it does; nothing if none serves.

        Raises
        ------
        RolloutError
            It does not within ``settings.ready_seconds``.
        """
        ...

    def record(self) -> None:
        """Tell the registry."""
        ...


def goal(model: str, champion: int, challenger: int, to: int) -> int:
    """Return the version to go back to; 0 if it is whichever was the champion before this one.

    Parameters
    ----------
    champion, challenger
        The versions that are served; 0 where there is none.
    to
        The version that is asked for; 0 if none is.

    Raises
    ------
    RolloutError
        There is no way back to it.
    """
    on_trial = challenger not in (0, champion)
    if not champion:
        raise RolloutError(
            f"{model} has no champion on the road, so there is nothing to roll back. "
            f"`roadworthy run {model}` makes a first one."
        )
    if on_trial and to == challenger:
        raise RolloutError(
            f"Version {to} of {model} is being rolled out: `roadworthy rollout promote {model}` "
            f"puts it on the road at once."
        )
    return champion if on_trial and not to else to


def taken_off(model: str, champion: int, challenger: int, chosen: int) -> tuple[int, ...]:
    """Return the versions that go when one alone is to answer.

    Raises
    ------
    RolloutError
        None does.
    """
    off = tuple(one for one in dict.fromkeys((champion, challenger)) if one not in (0, chosen))
    if not off:
        raise RolloutError(
            f"Version {chosen} of {model} answers already, and no other is on the road: there is "
            f"nothing to roll back."
        )
    return off


def former(registry: Registry, model: str, champion: int) -> Version:
    """Return the version that was promoted last, before the champion.

    Raises
    ------
    RolloutError
        There is none that was not rolled back.
    """
    promoted = [
        version
        for version in registry.versions(model)
        if version.tags.get("promoted_at")
        and not version.tags.get("rolled_back")
        and version.number != champion
    ]
    if not promoted:
        raise RolloutError(
            f"No other version of {model} was the champion before version {champion}. Name one "
            f"with --to; `roadworthy models` lists them."
        )
    return max(promoted, key=lambda version: version.tags["promoted_at"])
