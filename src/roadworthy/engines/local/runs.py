"""The runs of this machine: what is noted of each, which one is running, and their states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from roadworthy.core.process_id import here, lives
from roadworthy.core.settings import Settings
from roadworthy.steps.report import HTML, JSON
from roadworthy.tracking import records
from roadworthy.tracking.records import Record

_NOTE = "run.json"


@dataclass(frozen=True)
class Listed:
    """A run, wherever it runs.

    Parameters
    ----------
    state
        Whether it is running or how it ended, in words.
    started
        When it started; None before its first step.
    seconds
        Its duration, so far if it is running; None before its first step.
    address
        Its page.
    """

    name: str
    model: str
    trigger: str
    state: str
    started: datetime | None
    seconds: float | None
    address: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        started = self.started.isoformat(timespec="seconds") if self.started else None
        return asdict(self) | {"started": started}


@dataclass(frozen=True)
class Noted:
    """What is noted of a run of this machine before its first step."""

    name: str
    model: str
    trigger: str


def on_this_machine(settings: Settings, model: str, limit: int, now: datetime) -> list[Listed]:
    """Return the latest runs of this machine, of one model or of all.

    Parameters
    ----------
    limit
        How many at most.
    now
        The time until which the duration of a running run is counted.
    """
    latest = islice(noted(settings, model), limit)
    return [_listed(settings, run, now) for run in latest]


def directory(settings: Settings, name: str) -> Path:
    """Return where the log and the artifacts of a run of this machine are."""
    return settings.home / "runs" / name


def note(settings: Settings, run: Noted) -> None:
    """Note a run, in its directory, which is there."""
    told = {"model": run.model, "trigger": run.trigger}
    _write(directory(settings, run.name) / _NOTE, told)


def noted(settings: Settings, model: str = "") -> Iterator[Noted]:
    """Yield the runs of this machine, of one model or of all, the latest first."""
    for file in sorted((settings.home / "runs").glob(f"*/{_NOTE}"), reverse=True):
        told = json.loads(file.read_text())
        if model in ("", told["model"]):
            yield Noted(file.parent.name, told["model"], told["trigger"])


def hold(settings: Settings, model: str, run: str) -> None:
    """Note that this process drives a run of a model. It holds the model's lock."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    _write(_holding(settings, model), {"run": run, "started": started, "holder": here()})


def held(settings: Settings, model: str) -> dict[str, str]:
    """Return ``run``, ``started`` and ``holder`` of a model's running run, or nothing."""
    try:
        told: dict[str, str] = json.loads(_holding(settings, model).read_text())
    except FileNotFoundError:
        return {}
    # The lock is taken before this is noted, so it may still tell of the run before.
    return told if lives(told.get("holder", "")) else {}


def _write(file: Path, told: dict[str, str]) -> None:
    """Write a file whole or not at all: others read it at any moment."""
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(told))
    scratch.rename(file)


def _holding(settings: Settings, model: str) -> Path:
    return settings.home / f"{model}.run.json"


def _listed(settings: Settings, run: Noted, now: datetime) -> Listed:
    told = records.get(settings.records, run.name, JSON)
    steps = records.read(settings.records, run.name)
    is_running = told is None and held(settings, run.model).get("run") == run.name
    started = min((_moment(step.started) for step in steps), default=None)
    ended = now if is_running else max(_ends(steps), default=None)
    return Listed(
        run.name,
        run.model,
        run.trigger,
        json.loads(told)["outcome"] if told else "running" if is_running else "stopped",
        started,
        (ended - started).total_seconds() if started and ended else None,
        str(directory(settings, run.name) / HTML) if told else "",
    )


def _ends(steps: list[Record]) -> Iterator[datetime]:
    return (_moment(step.ended) for step in steps if step.ended)


def _moment(told: str) -> datetime:
    return datetime.fromisoformat(told).astimezone(UTC)
