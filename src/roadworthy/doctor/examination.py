"""The checks run side by side; one that crashes or hangs is a line, never the end."""

from __future__ import annotations

import importlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from roadworthy.core.errors import RoadworthyError
from roadworthy.doctor.discretion import discreet
from roadworthy.doctor.finding import Finding, missing

SECONDS = 15.0
"""How long a check may take, once what it imports is there."""
_IMPORT_SECONDS = 120.0
"""How long that may take: on a busy machine each of the great libraries takes seconds."""
_IMPORTING = threading.Lock()


@dataclass(frozen=True)
class Check:
    """A look at one thing, or at a few of a kind.

    Parameters
    ----------
    name
        What it looks at; the name of the line where it fails.
    look
        Returns what it found. What it raises becomes a line.
    remedy
        The command that mends it, where ``look`` raises.
    needs
        The modules that it imports, where that takes long.
    """

    name: str
    look: Callable[[], Finding | Sequence[Finding]]
    remedy: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """Checks of one place, in the order in which they are told."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Told:
    """A finding, and the part that it is of."""

    part: str
    finding: Finding


def examine(parts: Sequence[Part], seconds: float = SECONDS) -> Iterator[Told]:
    """Run all checks at once, and yield what they find in the order in which they are listed.

    Nothing that is yielded holds a secret of the environment.

    Parameters
    ----------
    seconds
        How long a check may take before it is told to hang.
    """
    looks = [(part, _Look(check, seconds)) for part in parts for check in part.checks]
    for part, look in looks:
        for found in look.result():
            yield Told(part.name, discreet(found))


class _Look:
    """A check that runs in a thread of its own."""

    def __init__(self, check: Check, seconds: float) -> None:
        self._check = check
        self._seconds = seconds
        self._began = threading.Event()
        self._began_at = 0.0
        self._results: queue.Queue[tuple[Finding, ...]] = queue.Queue(maxsize=1)
        # A daemon, because no thread can be stopped, and one that hangs must not keep the command.
        name = f"doctor: {check.name}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def result(self) -> tuple[Finding, ...]:
        """Return what was found, or that there was no answer in time."""
        self._began.wait(_IMPORT_SECONDS)
        left = self._began_at + self._seconds - time.monotonic()
        try:
            return self._results.get(timeout=max(0.0, left))
        except queue.Empty:
            told = f"gave no answer in {self._seconds:g} s"
            return (missing(self._check.name, told, self._check.remedy),)

    def _run(self) -> None:
        self._results.put(self._looked())

    def _looked(self) -> tuple[Finding, ...]:
        check = self._check
        try:
            self._import()
            found = check.look()
        except RoadworthyError as error:
            return (missing(check.name, str(error), check.remedy),)
        except Exception as error:  # noqa: BLE001 - one check that crashes is a line, not the end
            told = next(iter(str(error).strip().splitlines()), "")
            cause = f"{type(error).__name__}: {told}" if told else type(error).__name__
            return (missing(check.name, f"could not be looked at ({cause})", check.remedy),)
        return (found,) if isinstance(found, Finding) else tuple(found)

    def _import(self) -> None:
        try:
            if self._check.needs:
                # Modules that import each other in a circle must not be begun from two ends.
                with _IMPORTING:
                    for module in self._check.needs:
                        importlib.import_module(module)
        finally:
            self._began_at = time.monotonic()
            self._began.set()
