"""The record of a rollout: one for each model, kept where the model is served.

It holds what the processes of a rollout share: the champion, the rollout with its state and owner,
the command of a user, and the pending rollback. Every change is a compare-and-swap, so only one of
two concurrent changes succeeds. MLflow holds history only: versions, aliases and tags.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

from roadworthy.core import stored
from roadworthy.rollout.engine.state import RolledBackError, Rollout, Verb


@dataclass(frozen=True)
class Command:
    """A user's command to the driver of a rollout."""

    verb: Verb
    version: int
    by: str = ""
    at: str = ""


@dataclass(frozen=True)
class RollbackIntent:
    """A pending rollback: MLflow, and perhaps the traffic, does not follow it yet.

    Parameters
    ----------
    model
        The model's name.
    champion
        The version to deploy; 0 if none was released before.
    taken_off
        The versions that are removed from service.
    by, at, why
        The user, the time (ISO 8601) and the reason.
    """

    model: str
    champion: int
    taken_off: tuple[int, ...]
    by: str = ""
    at: str = ""
    why: str = ""

    def __str__(self) -> str:
        """Return it in words."""
        return f"rolled back by {self.by} at {self.at}: {self.why}"


@dataclass(frozen=True)
class Record:
    """The record of the rollouts of a model.

    Parameters
    ----------
    model
        The model's name.
    champion
        The version that the last rollout or rollback made the champion; 0 if that is not known.
    rollout
        The rollout that is under way, or else the last one; None before the first.
    command
        The command of a user; None once the driver has read it.
    intent
        The rollback that is pending, or None.
    mark
        Random for each write, so that no two writes are equal.
    """

    model: str
    champion: int = 0
    rollout: Rollout | None = None
    command: Command | None = None
    intent: RollbackIntent | None = None
    mark: str = ""

    def check_undisturbed(self) -> None:
        """Check that no rollback is pending.

        Raises
        ------
        RolledBackError
            A user rolled the model back.
        """
        if self.intent is not None:
            raise RolledBackError(f"{self.intent}")


class RecordStore(Protocol):
    """Keeps the records of the models that one place serves."""

    def where(self, model: str) -> str:
        """Return how a user deletes the record of a model."""
        ...

    def read(self, model: str) -> Record:
        """Return the record of a model; an empty one if there is none.

        Raises
        ------
        RolloutError
            It cannot be read.
        """
        ...

    def compare_and_swap(self, before: Record, after: Record) -> bool:
        """Write a record if it still is what it was, and return whether it was written.

        Parameters
        ----------
        after
            The new record, with a mark of its own.

        Raises
        ------
        RolloutError
            It cannot be written.
        """
        ...


def change(store: RecordStore, model: str, changed: Callable[[Record], Record]) -> Record:
    """Change a record, again when another process changed it meanwhile, and return it.

    Parameters
    ----------
    changed
        Returns the record as it is to be; what it raises ends the attempt.
    """
    while True:
        before = store.read(model)
        after = changed(before)
        if after == before:
            return before
        after = replace(after, mark=secrets.token_hex(4))
        if store.compare_and_swap(before, after):
            return after


def leave(store: RecordStore, intent: RollbackIntent) -> None:
    """Write a rollback intent before acting on it. It may be written again.

    Raises
    ------
    RolledBackError
        Another rollback is pending.
    """

    def left(record: Record) -> Record:
        if record.intent != intent:
            record.check_undisturbed()
        return replace(record, intent=intent)

    change(store, intent.model, left)


def forget(store: RecordStore, intent: RollbackIntent, *, champion: int = 0) -> None:
    """Remove the intent of a rollback that is finished or given up; another one stays.

    Parameters
    ----------
    champion
        The version that it made the champion; 0 leaves the champion as it was.
    """

    def forgotten(record: Record) -> Record:
        if record.intent != intent:
            return record
        return replace(record, intent=None, champion=champion or record.champion)

    change(store, intent.model, forgotten)


def encode(value: Record | Rollout) -> str:
    """Return a record or a rollout as JSON, without default values."""
    return json.dumps(_brief(value), separators=(",", ":"), ensure_ascii=False)


def decode(text: str | bytes, model: str) -> Record:
    """Return the record of a JSON. Fields that are not known are ignored.

    Raises
    ------
    ValueError
        It is invalid, or of another model.
    """
    found = stored.decode(Record, text)
    if found.model != model:
        raise ValueError(f"it is of {found.model}")
    if found.intent is not None:
        _check(found.intent, model)
    return found


def decode_intent(text: str | bytes, model: str) -> RollbackIntent:
    """Return the rollback intent of a JSON, as the release before kept it.

    Raises
    ------
    ValueError
        It is invalid, or of another model.
    """
    found = stored.decode(RollbackIntent, text)
    _check(found, model)
    return found


def decode_rollout(text: str) -> Rollout:
    """Return the rollout of a JSON, as the release before kept it.

    Raises
    ------
    ValueError
        It is invalid.
    """
    return stored.decode(Rollout, text)


def _check(intent: RollbackIntent, model: str) -> None:
    if intent.model != model:
        raise ValueError(f"it is of {intent.model}")
    if intent.champion < 0 or not intent.taken_off or min(intent.taken_off) < 1:
        raise ValueError(f"it takes off {list(intent.taken_off)} and leaves {intent.champion}")


def _brief(value: Any) -> Any:
    if is_dataclass(value):
        told = {one.name: getattr(value, one.name) for one in fields(value)}
        default = {one.name: one.default for one in fields(value)}
        return {name: _brief(one) for name, one in told.items() if one != default[name]}
    if isinstance(value, tuple):
        return [_brief(item) for item in value]
    return value
