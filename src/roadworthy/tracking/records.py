"""The records of a run: one JSON document for each step.

A record is written when its step starts and again when it ends. The steps, which run in separate
processes or pods, share only the place of the records: an fsspec address of a directory or S3.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import fsspec

from roadworthy.core import stored
from roadworthy.core.errors import RoadworthyError
from roadworthy.data import s3
from roadworthy.models.errors import described

STEPS = (
    "checkout",
    "prepare",
    "train",
    "evaluate",
    "gate",
    "reject",
    "release",
    "stage",
    "canary",
    "roll-back",
    "promote",
    "report",
)
"""The steps of a run, in the order of the pipeline."""
_BEFORE = {"validate": "prepare", "register": "release", "push": "release"}
_BEFORE |= {"roll-out": "stage", "verify": "canary"}
"""The former names of steps, with the current ones."""

_STEP = "step."
_FIGURE = "figure."


class RecordError(RoadworthyError):
    """A record cannot be read or written."""


@dataclass
class Record:
    """The record of one step of a run.

    Parameters
    ----------
    step
        The step's name.
    started, ended
        ISO 8601 times with their offset; ``ended`` is empty while the step runs.
    state
        ``running``, ``done`` or ``failed``.
    summary
        The result in a few words.
    error
        The cause of a failure, and the remedy.
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
        """The duration of the step; not a number while it runs."""
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
    # A step is a process: a last garbage collection, with all that MLflow or scikit-learn imported,
    # would take half a second.
    atexit.register(gc.freeze)
    record = Record(name, started=_now())
    _write(place, run, record)
    try:
        with _terminable():
            yield record
    except BaseException as error:
        record.state = "failed"
        record.error = _told(error)
        if isinstance(error, RoadworthyError):
            record.details["exit_code"] = int(error.exit_code)
        raise
    else:
        record.state = "done"
    finally:
        record.ended = _now()
        _write(place, run, record)


def update(place: str, run: str, record: Record) -> None:
    """Write the record of a running step again, with what is known so far.

    Raises
    ------
    RecordError
        It cannot be written.
    """
    _write(place, run, record)


def read(place: str, run: str) -> list[Record]:
    """Return the records of a run, in the order of the pipeline."""
    files, root = _place(place, run)
    with _explained(root, "read"):
        records = [
            stored.decode(Record, files.cat_file(f"{root}/{name}"))
            for name in _names(files, root)
            if name.startswith(_STEP) and name.endswith(".json")
        ]
    return sorted(records, key=_position)


def put(place: str, run: str, name: str, content: bytes) -> str:
    """Write a file beside the records, whole or not at all, and return its address.

    Raises
    ------
    RecordError
        It cannot be written there.
    """
    files, root = _place(place, run)
    # An object store writes an object atomically; a directory needs the rename.
    local = "file" in files.protocol
    target = f"{root}/{name}"
    written = f"{root}/.{name}.{os.getpid()}.{threading.get_ident()}" if local else target
    with _explained(target, "written"):
        if local:  # a bucket exists, and there may be no right to create one
            files.makedirs(root, exist_ok=True)
        files.pipe_file(written, content)
        if local:
            files.mv(written, target)
    return target if local else str(files.unstrip_protocol(target))


def get(place: str, run: str, name: str) -> bytes | None:
    """Return a file from beside the records, or None when there is none."""
    files, root = _place(place, run)
    with _explained(f"{root}/{name}", "read"):
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
    files, root = _place(place, run)
    with _explained(root, "read"):
        return {
            name.removeprefix(_FIGURE).removesuffix(".png"): files.cat_file(f"{root}/{name}")
            for name in _names(files, root)
            if name.startswith(_FIGURE) and name.endswith(".png")
        }


def reuse(place: str, run: str, made_in: str, steps: Collection[str]) -> None:
    """Copy the records of steps that a run lacks from the run whose results it uses, with figures.

    A step that is recorded, here or not there, is left as it is.
    """
    known = {record.step for record in read(place, run)}
    for record in read(place, made_in) if made_in != run else ():
        if record.step in steps and record.step not in known and record.state == "done":
            told = f"{record.summary} (result of run {made_in})"
            _write(
                place,
                run,
                replace(record, summary=told, details={**record.details, "made_in": made_in}),
            )
            if record.step == "evaluate":
                attach(place, run, figures(place, made_in))


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM an exception like Ctrl-C, so that a terminated step cleans up.

    Python allows that in the main thread only; in others the signal stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


@contextmanager
def _explained(target: str, done: str) -> Iterator[None]:
    """Raise a :class:`RecordError` for the errors of a file system."""
    try:
        yield
    except s3.failures() as error:
        known = s3.explained(error)
        cause = known.cause if known else getattr(error, "strerror", "") or str(error)
        remedy = known.remedy if known else "check the access to it and the space on it"
        raise RecordError(
            f"{target} cannot be {done} ({cause}). It is named by ROADWORTHY_RECORDS: {remedy}, "
            f"and run again."
        ) from error


def _place(place: str, run: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a place, and the directory of a run in it."""
    files, root = fsspec.core.url_to_fs(f"{place.rstrip('/')}/{run}", **s3.options(place))
    return files, str(root)


def _names(files: fsspec.AbstractFileSystem, root: str) -> list[str]:
    """Return the names of the files in a directory, in alphabetical order."""
    # The listing of an object store is cached, but the steps write in other processes.
    files.invalidate_cache()
    try:
        found = files.ls(root, detail=False)
    except FileNotFoundError:
        return []
    return sorted(str(path).rpartition("/")[2] for path in found)


def _position(record: Record) -> tuple[int, str]:
    """Return the sort key of a record: the order of the pipeline, unknown steps last."""
    step = _BEFORE.get(record.step, record.step)
    return STEPS.index(step) if step in STEPS else len(STEPS), record.started


def _told(error: BaseException) -> str:
    """Return the message of an error; with its type and its place unless it is one of ours."""
    if isinstance(error, RoadworthyError):
        return str(error)
    return described(error)


def _write(place: str, run: str, record: Record) -> None:
    put(place, run, f"{_STEP}{record.step}.json", json.dumps(asdict(record)).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
