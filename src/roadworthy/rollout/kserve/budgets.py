"""The PodDisruptionBudgets of models, and the note of a rollback, which is kept at them.

It is an annotation of the budget and not of the InferenceService, whose annotations KServe copies
to its pods: each note would restart them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.kserve import inference_service
from roadworthy.rollout.kserve.cluster import Cluster, Json, unless_stale
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

NOTE = "roadworthy/note"
"""The annotation with what is still to be told to the registry."""


class Budgets:
    """The budgets of one namespace.

    Parameters
    ----------
    seconds
        How long a note that others change, too, is written again.
    """

    def __init__(self, kserve: KServeSettings, cluster: Cluster, seconds: float) -> None:
        self._kserve = kserve
        self._cluster = cluster
        self._seconds = seconds

    def keep(self, model: str) -> None:
        """Apply the budget of a model."""
        version = self._cluster.budget_version
        self._cluster.apply_budget(inference_service.budget(model, self._kserve, version))

    def note(self, model: str) -> Note | None:
        """Return the note of a model, or None.

        Raises
        ------
        RolloutError
            It cannot be read.
        """
        return _note(model, self._cluster.budget(model))

    def check_undisturbed(self, model: str) -> None:
        """See that nobody rolls the model back.

        Raises
        ------
        RolledBackError
            Somebody does.
        """
        found = self.note(model)
        if found is not None:
            raise RolledBackError(f"{found}")

    def leave(self, note: Note) -> None:
        """Write a note.

        Raises
        ------
        RolledBackError
            There is another one.
        """
        if self._cluster.budget(note.model) is None:
            self.keep(note.model)

        def written(found: Note | None) -> Note:
            if found not in (None, note):
                raise RolledBackError(f"{found}")
            return note

        self._change(note.model, written)

    def forget(self, note: Note) -> None:
        """Take a note away; another one stays."""
        self._change(note.model, lambda found: None if found == note else found)

    def _change(self, model: str, change: Callable[[Note | None], Note | None]) -> None:
        """Change the note, unless it changes meanwhile: then again."""

        @unless_stale(self._seconds)
        def once() -> None:
            budget = self._cluster.budget(model)
            before = _note(model, budget)
            after = change(before)
            if budget is not None and after != before:
                told = None if after is None else json.dumps(asdict(after))
                self._cluster.annotate_budget(budget, NOTE, told)

        once()


def _note(model: str, budget: Json | None) -> Note | None:
    told = ((budget or {}).get("metadata", {}).get("annotations") or {}).get(NOTE)
    if not told:
        return None
    try:
        return Note.decode(told, model)
    except ValueError as error:
        raise RolloutError(
            f"The annotation {NOTE} of the PodDisruptionBudget {model}, which says what is still "
            f"to be recorded of a rollback, cannot be read ({error}). Delete the annotation, and "
            f"roll back again."
        ) from error
