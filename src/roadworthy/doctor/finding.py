"""What a look at one thing found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """One line of what the doctor says.

    Parameters
    ----------
    name
        The thing that was looked at.
    state
        ``ok``; ``warning`` where only some need what is not there; ``missing`` where it is needed.
    told
        What was found, in words.
    remedy
        The command that mends it; empty where all is well.
    """

    name: str
    state: State
    told: str
    remedy: str = ""


def ok(name: str, told: str) -> Finding:
    """Return that a thing is there."""
    return Finding(name, "ok", told)


def warning(name: str, told: str, remedy: str) -> Finding:
    """Return that a thing is not as some need it."""
    return Finding(name, "warning", told, remedy)


def missing(name: str, told: str, remedy: str) -> Finding:
    """Return that a thing is not there, or not as it is needed."""
    return Finding(name, "missing", told, remedy)
