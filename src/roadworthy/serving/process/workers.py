"""What each process of a server holds, so that any of them can tell what all of them do.

Each process writes what it holds into a file of its own, in a directory that the supervisor gives
to all. It writes first that it holds nothing, before it reads a routing file; the supervisor takes
the file away when the process has ended: so the files are those of all who live, and what every
file names is held by whoever may answer.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PREFIX, _SUFFIX = "held-", ".json"


_MEMORY = Path("/dev/shm")  # noqa: S108 - who may write there is known by the name


class Board:
    """Where the processes of one server write what they hold.

    Parameters
    ----------
    directory
        The directory that all of them share; nothing for a server that is one process.
    worker
        The number of this process among them, from 1.
    """

    def __init__(self, directory: Path | None, worker: int = 1) -> None:
        self._directory = directory
        self._worker = worker
        self._ours: dict[str, Any] = {}

    def write(self, models: Mapping[str, Any]) -> None:
        """Tell what this process holds.

        Parameters
        ----------
        models
            By model, what can be written as JSON.

        Raises
        ------
        OSError
            The directory is not there, or full.
        """
        self._ours = {"worker": self._worker, "process": os.getpid(), "models": models}
        if self._directory is None:
            return
        scratch = self._directory / f".{_PREFIX}{os.getpid()}"
        scratch.write_text(json.dumps(self._ours))
        scratch.rename(_file(self._directory, os.getpid()))

    def read(self) -> list[dict[str, Any]]:
        """Return what each process holds, in the order of their numbers.

        Returns
        -------
        list
            For each process its number ``worker``, its id ``process``, and its ``models``.
        """
        if self._directory is None:
            return [self._ours] if self._ours else []
        found = []
        for file in self._directory.glob(f"{_PREFIX}*{_SUFFIX}"):
            try:
                found.append(json.loads(file.read_text()))
            except FileNotFoundError:  # it has ended since
                continue
        return sorted(found, key=lambda told: (told["worker"], told["process"]))


@contextmanager
def shared(parent: Path | None) -> Iterator[Path]:
    """Give a directory for the processes of this supervisor, empty and for no other.

    It is taken away in the end, and so are those of supervisors that were killed.

    Parameters
    ----------
    parent
        Where to make it; it is made too. Nothing for one in memory, or where there is none, in the
        system's directory for scratch files: a disk that is full would kill whoever counts.

    Raises
    ------
    OSError
        It cannot be made.
    """
    if parent is None and os.access(_MEMORY, os.W_OK):
        parent = _MEMORY / f"roadworthy-{os.getuid()}"
    if parent is None:
        with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
            yield Path(scratch)
        return
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if left.name.isdigit() and not _lives(int(left.name)):
            shutil.rmtree(left, ignore_errors=True)
    ours = parent / str(os.getpid())
    shutil.rmtree(ours, ignore_errors=True)
    ours.mkdir()
    try:
        yield ours
    finally:
        shutil.rmtree(ours, ignore_errors=True)


def forget(directory: Path, process: int) -> None:
    """Take away what a process told that has ended: what it holds, and is doing just now.

    What it counted stays counted.
    """
    # here alone, because the client takes more memory than the rest of a supervisor
    from prometheus_client.multiprocess import mark_process_dead

    _file(directory, process).unlink(missing_ok=True)
    mark_process_dead(process, str(directory))  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _file(directory: Path, process: int) -> Path:
    return directory / f"{_PREFIX}{process}{_SUFFIX}"
