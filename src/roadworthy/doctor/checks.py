"""Checks run side by side; one that crashes or hangs is a line, and never the end."""

from __future__ import annotations

import importlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from roadworthy.core.errors import RoadworthyError
from roadworthy.doctor.finding import Finding, missing, without_secrets

SECONDS = 20.0
"""How long the checks may take, after what they import is there."""

Look = Callable[[], Finding | Sequence[Finding]]
"""Returns what it found. What it raises becomes a line."""


@dataclass(frozen=True)
class Check:
    """A check of one thing, or of a few of a kind.

    Parameters
    ----------
    name
        What is checked; the name of the line where ``look`` raises.
    remedy
        The command that fixes it, where ``look`` raises.
    needs
        The modules that it imports, where that takes long.
    """

    name: str
    look: Look
    remedy: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """Checks of one place, in the order in which they are printed."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Told:
    """A finding, and the name of its part."""

    part: str
    finding: Finding


def examine(parts: Sequence[Part], seconds: float = SECONDS) -> Iterator[Told]:
    """Run all checks at once, and yield what they find in the order in which they are listed.

    Nothing that is yielded contains a secret of the environment.
    """
    checks = [(part, check) for part in parts for check in part.checks]
    # First and one by one: imports in several threads may wait for each other.
    for module in dict.fromkeys(module for _, check in checks for module in check.needs):
        with suppress(Exception):  # the check that needs it fails, and tells why
            importlib.import_module(module)
    started = [(part, check, _start(check)) for part, check in checks]
    deadline = time.monotonic() + seconds
    for part, check, results in started:
        try:
            found = results.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            found = [missing(check.name, f"no response within {seconds:g} s", check.remedy)]
        for one in found:
            yield Told(part.name, without_secrets(one))


def _start(check: Check) -> queue.Queue[Sequence[Finding]]:
    results: queue.Queue[Sequence[Finding]] = queue.Queue(maxsize=1)
    # A daemon: a thread cannot be stopped, and one that hangs must not keep the command alive.
    threading.Thread(target=lambda: results.put(_run(check)), daemon=True).start()
    return results


def _run(check: Check) -> Sequence[Finding]:
    try:
        found = check.look()
    except RoadworthyError as error:
        return [missing(check.name, str(error), check.remedy)]
    except Exception as error:  # noqa: BLE001 - one check that crashes is a line, not the end
        told = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
        return [missing(check.name, f"the check failed ({told.rstrip(': ')})", check.remedy)]
    return [found] if isinstance(found, Finding) else found
