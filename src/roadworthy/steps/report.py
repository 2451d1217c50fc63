"""Write the report of a run, however it ended, and roll back a rollout that it abandoned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.tracking import records
from roadworthy.tracking.records import Record
from roadworthy.tracking.report import Report, conclude

JSON = "report.json"
HTML = "report.html"
_BEGINS, _ENDS = ("release", "register"), ("promote", "roll-back")
"""The steps that start a rollout, with the name of version 0.1, and that end one."""


class LeftError(RoadworthyError):
    """The run's rollout is abandoned, and could not be rolled back."""


def report(
    settings: Settings, run: str, *, model: str, trigger: str, html: Path | None = None
) -> Report:
    """Roll back the rollout that the run abandoned, then write the report and return it.

    Raises
    ------
    LeftError
        The rollout could not be rolled back. The report is written all the same, and says so.
    """
    written = conclude(run, model, trigger, records.read(settings.records, run))
    if not _is_left(written.records):
        return _put(settings, written, html)
    # here alone: the registry takes seconds to load, and a run that went well does without it
    from roadworthy.rollout.actions import abandoned

    try:
        told = abandoned.take_back(settings, model, run)
    except Exception as error:  # whatever it is, the report is to be written
        told = (
            f"The run's rollout was not taken back ({_words(error)}): `roadworthy rollout abort "
            f"{model}` does that."
        )
        _put(settings, replace(_with(written, told), outcome="failed"), html)
        raise LeftError(told) from error
    return _put(settings, _with(written, told), html)


def write(settings: Settings, run: str, *, model: str, trigger: str) -> Report:
    """Write the report of a run beside its records, and return it."""
    return _put(settings, conclude(run, model, trigger, records.read(settings.records, run)), None)


def _is_left(steps: Iterable[Record]) -> bool:
    """Return whether the run may have started a rollout that no step of it ended."""
    states = {step.step: step.state for step in steps}
    # A step that was killed, or failed, may have started it all the same.
    begun = any(step in states for step in _BEGINS)
    return begun and all(states.get(step) != "done" for step in _ENDS)


def _with(written: Report, told: str) -> Report:
    return replace(written, why=f"{written.why.rstrip('.')}. {told}") if told else written


def _words(error: Exception) -> str:
    told = str(error).rstrip(".")
    if isinstance(error, RoadworthyError):
        return told
    return f"{type(error).__name__}: {told}".removesuffix(": ")


def _put(settings: Settings, written: Report, html: Path | None) -> Report:
    """Write it beside the records, the page also to a file."""
    place, run = settings.records, written.run
    page = written.to_html(records.figures(place, run))
    records.put(place, run, HTML, page)
    records.put(place, run, JSON, written.to_json())
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_bytes(page)
    return written
