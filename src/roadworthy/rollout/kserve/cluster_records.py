"""The records of the models of a namespace: an annotation of each model's PodDisruptionBudget.

It is not one of the InferenceService, whose annotations KServe copies to its pods: each write would
restart them all. The budget's resourceVersion makes a write a compare-and-swap.
"""

from __future__ import annotations

from dataclasses import replace

from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.record import Record
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve import inference_service
from roadworthy.rollout.kserve.cluster import Cluster, Json, StaleError, unless_stale
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

RECORD = "roadworthy/rollout"
"""The annotation with the record."""
NOTE = "roadworthy/note"
"""The annotation in which the release before kept a pending rollback."""


class ClusterRecords:
    """The records of one namespace.

    Parameters
    ----------
    seconds
        For how long a write is retried while the budget is changed by others.
    """

    def __init__(self, kserve: KServeSettings, cluster: Cluster, seconds: float) -> None:
        self._kserve = kserve
        self._cluster = cluster
        self._seconds = seconds

    def keep_budget(self, model: str) -> None:
        """Apply the PodDisruptionBudget of a model."""
        version = self._cluster.budget_version
        self._cluster.apply_budget(inference_service.budget(model, self._kserve, version))

    def where(self, model: str) -> str:
        """Return how a user deletes the record of a model."""
        return (
            f"`kubectl annotate poddisruptionbudget {model} --namespace {self._kserve.namespace} "
            f"{RECORD}- {NOTE}-`"
        )

    def read(self, model: str) -> Record:
        """Return the record of a model; an empty one if there is none."""
        return self._record(model, self._cluster.budget(model))

    def compare_and_swap(self, before: Record, after: Record) -> bool:
        """Write a record if it still is what it was, and return whether it was written."""
        model, swapped = after.model, False

        @unless_stale(self._seconds)
        def once() -> None:
            nonlocal swapped
            budget = self._cluster.budget(model)
            if budget is None:
                self.keep_budget(model)
                raise StaleError(f"The PodDisruptionBudget {model} was deleted: run again.")
            found = self._record(model, budget)
            if found == before:
                told = {RECORD: record.encode(after), NOTE: None}
                self._cluster.annotate_budget(budget, told)
            # It may be written already, if the response to an earlier attempt was lost.
            swapped = found in (before, after)

        once()
        return swapped

    def _record(self, model: str, budget: Json | None) -> Record:
        told = (budget or {}).get("metadata", {}).get("annotations") or {}
        name = RECORD
        try:
            found = record.decode(told[name], model) if told.get(name) else Record(model)
            if told.get(NOTE):
                name = NOTE
                found = replace(found, intent=record.decode_intent(told[name], model))
        except ValueError as error:
            raise RolloutError(
                f"The annotation {name} of the PodDisruptionBudget {model}, the record of its "
                f"rollout, cannot be read ({error}). Delete the annotation ({self.where(model)}), "
                f"and run again."
            ) from error
        return found
