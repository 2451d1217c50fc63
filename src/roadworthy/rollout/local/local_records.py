"""The records of the models of this machine: one file for each, written under a lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.record import Record
from roadworthy.rollout.engine.state import RolloutError


class LocalRecords:
    """The records in the home directory of a server.

    Parameters
    ----------
    settings
        The settings with the home directory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def where(self, model: str) -> str:
        """Return how a user deletes the record of a model."""
        return f"`rm {self._file(model)}`"

    def read(self, model: str) -> Record:
        """Return the record of a model; an empty one if there is none."""
        found = Record(model)
        file = self._file(model)
        former = self._former(model)
        try:
            if file.exists():
                found = record.decode(file.read_bytes(), model)
            if found.intent is None and former.exists():
                file = former
                found = replace(found, intent=record.decode_intent(file.read_bytes(), model))
        except FileNotFoundError:  # moved meanwhile
            return self.read(model)
        except (OSError, ValueError) as error:
            raise RolloutError(
                f"{file}, the record of the rollout of {model}, cannot be read ({error}). Delete "
                f"it, and run again."
            ) from error
        return found

    def compare_and_swap(self, before: Record, after: Record) -> bool:
        """Write a record if it still is what it was, and return whether it was written."""
        file = self._file(after.model)
        try:
            with changing(self._settings, after.model):
                if self.read(after.model) != before:
                    return False
                file.parent.mkdir(parents=True, exist_ok=True)
                scratch = file.with_suffix(f".{os.getpid()}")
                scratch.write_text(record.encode(after) + "\n")
                scratch.rename(file)
                self._former(after.model).unlink(missing_ok=True)
        except OSError as error:
            raise RolloutError(
                f"{file}, the record of the rollout of {after.model}, cannot be written ({error}). "
                f"Check the space and the rights there."
            ) from error
        return True

    def _file(self, model: str) -> Path:
        return self._settings.home / "rollouts" / f"{model}.json"

    def _former(self, model: str) -> Path:
        """Return the file in which the release before kept a pending rollback."""
        return self._settings.routing / f".{model}.note"


@contextmanager
def changing(settings: Settings, model: str) -> Iterator[None]:
    """Hold the lock of a model's traffic and record."""
    settings.routing.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(settings.routing / f".{model}.lock"):
        yield
