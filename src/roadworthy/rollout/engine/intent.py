"""What was done to a road and is still to be recorded: so that a rollback need not wait for MLflow.

The road is changed first, together with a note beside it; then the registry is told; then the note
goes. Whoever drives a rollout looks for a note before each change of the road, and stops if there
is one. A note that a kill left is recorded by the next rollout, rollback or server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from roadworthy.core import stored
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import RolloutError


@dataclass(frozen=True)
class Note:
    """A rollback that is still to be recorded.

    Parameters
    ----------
    model
        The model's name.
    champion
        The version that answers since.
    taken_off
        The versions that were taken off: the champion, the challenger of a rollout, or both.
    by, at, why
        Who did it, when and why.
    """

    model: str
    champion: int
    taken_off: tuple[int, ...]
    by: str = ""
    at: str = ""
    why: str = ""

    @classmethod
    def decode(cls, text: str | bytes, model: str) -> Note:
        """Return the note of a JSON.

        Raises
        ------
        ValueError
            It is none, or one of another model.
        """
        found = stored.decode(cls, text)
        if found.model != model:
            raise ValueError(f"it is of {found.model}")
        off = found.taken_off
        if found.champion < 0 or not off or min(off) < 1:
            raise ValueError(f"it takes off {list(off)} and leaves {found.champion}")
        return found

    def __str__(self) -> str:
        """Return it in words."""
        return f"rolled back by {self.by} at {self.at}: {self.why}"


@contextmanager
def changing(settings: Settings, model: str) -> Iterator[None]:
    """Let one at a time change the road of a model."""
    settings.road.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(settings.road / f".{model}.lock"):
        yield


def read(settings: Settings, model: str) -> Note | None:
    """Return what is still to be recorded, or None.

    Raises
    ------
    RolloutError
        The note is damaged.
    """
    file = _file(settings, model)
    try:
        return Note.decode(file.read_bytes(), model)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RolloutError(
            f"{file}, which says what is still to be recorded of a rollback, cannot be read "
            f"({error}). Delete it, and roll back again."
        ) from error


def write(settings: Settings, note: Note) -> None:
    """Leave a note, whole or not at all. To be called while :func:`changing` the road."""
    file = _file(settings, note.model)
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(note)) + "\n")
    scratch.rename(file)


def clear(settings: Settings, note: Note) -> None:
    """Take away a note that is recorded; one that came since stays."""
    with changing(settings, note.model):
        if read(settings, note.model) == note:
            _file(settings, note.model).unlink()


def _file(settings: Settings, model: str) -> Path:
    return settings.road / f".{model}.note"
