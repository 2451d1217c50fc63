"""What each step of a run did: one JSON record a step, and from them the run's report.

A record is written when its step starts and again when it ends. Steps run in processes, or pods,
that share nothing but the place of the records, an fsspec address: a directory, or an S3 prefix.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import fsspec

from roadworthy.errors import RoadworthyError

STEPS = (
    "checkout",
    "validate",
    "prepare",
    "train",
    "evaluate",
    "gate",
    "reject",
    "register",
    "push",
    "roll-out",
    "verify",
    "roll-back",
    "promote",
    "report",
)
"""The steps of a run, in the order of the pipeline."""


_FIGURE = "figure."


@dataclass
class Record:
    """One step of one run.

    Parameters
    ----------
    step
        The step's name.
    started, ended
        ISO 8601 times with their offset; ``ended`` is empty while the step runs.
    state
        Whether it runs, is done or failed.
    summary
        What it did, in a few words.
    error
        Why it failed: the cause and the remedy.
    details
        Numbers and names for the report.
    """

    step: str
    started: str
    ended: str = ""
    state: Literal["running", "done", "failed"] = "running"
    summary: str = ""
    error: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the step took; not a number while it runs."""
        if not self.ended:
            return float("nan")
        span = datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)
        return span.total_seconds()


@contextmanager
def step(place: str, run: str, name: str) -> Iterator[Record]:
    """Record a step, whether it ends well or not.

    Parameters
    ----------
    place
        The setting ``records``.
    run
        The run's id.
    name
        One of :data:`STEPS`.

    Yields
    ------
    Record
        Fill in ``summary`` and ``details``.
    """
    record = Record(name, started=_now())
    _write(place, run, record)
    try:
        yield record
    except BaseException as error:
        told = isinstance(error, RoadworthyError)
        record.state = "failed"
        record.error = str(error) if told else f"{type(error).__name__}: {error}"
        raise
    else:
        record.state = "done"
    finally:
        record.ended = _now()
        _write(place, run, record)


def read(place: str, run: str) -> list[Record]:
    """Return the records of a run, in the order of the pipeline; none if it never started."""
    files, root = fsspec.core.url_to_fs(f"{place}/{run}")
    if not files.isdir(root):
        return []
    names = (str(name) for name in files.ls(root, detail=False))
    records = [
        Record(**json.loads(files.cat_file(name)))
        for name in names
        if name.rpartition("/")[2].startswith("step.") and name.endswith(".json")
    ]
    return sorted(records, key=lambda record: STEPS.index(record.step))


def put(place: str, run: str, name: str, content: bytes) -> str:
    """Write a file beside the records, whole or not at all, and return its address."""
    files, root = fsspec.core.url_to_fs(f"{place}/{run}")
    files.makedirs(root, exist_ok=True)
    # An object store shows an object when it is complete; a directory needs the rename.
    local = "file" in files.protocol
    target = f"{root}/{name}"
    written = f"{root}/.{name}" if local else target
    files.pipe_file(written, content)
    if local:
        files.mv(written, target)
    return target


def get(place: str, run: str, name: str) -> bytes | None:
    """Return a file from beside the records, or None when there is none."""
    files, root = fsspec.core.url_to_fs(f"{place}/{run}")
    try:
        content: bytes = files.cat_file(f"{root}/{name}")
    except FileNotFoundError:
        return None
    return content


def attach(place: str, run: str, figures: Mapping[str, bytes]) -> None:
    """Put PNG figures beside the records, for the report."""
    for name, png in figures.items():
        put(place, run, f"{_FIGURE}{name}.png", png)


def figures(place: str, run: str) -> dict[str, bytes]:
    """Return the figures of a run by name."""
    files, root = fsspec.core.url_to_fs(f"{place}/{run}")
    found = sorted(files.glob(f"{root}/{_FIGURE}*.png")) if files.isdir(root) else []
    return {
        str(path).rpartition("/")[2].removeprefix(_FIGURE).removesuffix(".png"): files.cat_file(
            path
        )
        for path in found
    }


def _write(place: str, run: str, record: Record) -> None:
    put(place, run, f"step.{record.step}.json", json.dumps(asdict(record)).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
