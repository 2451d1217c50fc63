"""A registry of the processes of a server, and of what each has loaded.

Each process writes a file in a directory that the supervisor gives to all. It writes an empty one
before it reads a routing file, and the supervisor removes it when the process has ended.
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

_MEMORY = Path("/dev/shm")  # noqa: S108 - the directory in it has the user's number


class WorkerRegistry:
    """The registry of one server.

    Parameters
    ----------
    directory
        The directory that all processes share; None for a server with one process.
    worker
        The number of this process among them, from 1.
    """

    def __init__(self, directory: Path | None, worker: int = 1) -> None:
        self._directory = directory
        self._worker = worker
        self._own: dict[str, Any] = {}

    def write(self, models: Mapping[str, Any]) -> None:
        """Write the entry of this process.

        Parameters
        ----------
        models
            JSON values by model.

        Raises
        ------
        OSError
            The directory does not exist, or its disk is full.
        """
        self._own = {"worker": self._worker, "process": os.getpid(), "models": models}
        if self._directory is not None:
            scratch = self._directory / f".worker-{os.getpid()}"
            scratch.write_text(json.dumps(self._own))
            scratch.rename(_file(self._directory, os.getpid()))

    def read(self) -> list[dict[str, Any]]:
        """Return ``worker``, ``process`` and ``models`` of each process, by worker number."""
        if self._directory is None:
            return [self._own] if self._own else []
        found = []
        for file in self._directory.glob("worker-*.json"):
            try:
                found.append(json.loads(file.read_text()))
            except FileNotFoundError:  # the process has ended meanwhile
                continue
        return sorted(found, key=lambda entry: (entry["worker"], entry["process"]))


@contextmanager
def shared(parent: Path | None) -> Iterator[Path]:
    """Provide an empty directory for the processes of this supervisor, and remove it at the end.

    Directories of supervisors that were killed are removed too.

    Parameters
    ----------
    parent
        The directory to make it in. None for one in memory or, where there is none, in the
        system's temporary directory: writing metrics to a full disk would kill a process.

    Raises
    ------
    OSError
        It cannot be made.
    """
    if parent is None:
        root = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
        parent = root / f"roadworthy-{os.getuid()}"
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.iterdir():
        if other.name.isdigit() and not _is_alive(int(other.name)):
            shutil.rmtree(other, ignore_errors=True)
    own = parent / str(os.getpid())
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def forget(directory: Path, process: int) -> None:
    """Remove the entry and the gauges of a process that has ended. Its counters stay."""
    # imported late: the client takes more memory than the rest of a supervisor
    from prometheus_client.multiprocess import mark_process_dead

    _file(directory, process).unlink(missing_ok=True)
    mark_process_dead(process, str(directory))  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _file(directory: Path, process: int) -> Path:
    return directory / f"worker-{process}.json"
