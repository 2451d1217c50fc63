"""The tasks of a run on Kubeflow: their titles and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roadworthy.tracking.report import Outcome

TITLES: Mapping[str, str] = {
    "checkout": "Check out code and data",
    "prepare": "Prepare the data",
    "train": "Train the candidates",
    "evaluate": "Evaluate on the hold-out",
    "gate": "Gate",
    "reject": "Reject",
    "release": "Release the version",
    "stage": "Stage at weight 0",
    "canary": "Canary analysis",
    "promote": "Promote to champion",
    "report": "Write the report",
}
"""The display name of each step in Kubeflow's pages."""

WORDS: Mapping[str, str] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELING": "being cancelled",
    "CANCELED": "cancelled",
    "PAUSED": "paused",
}
"""What is printed for each state that Kubeflow has."""

_OUTCOMES: Mapping[str, Outcome] = {
    "promote": "released",
    "canary": "rolled back",  # without a promotion
    "reject": "rejected",
}
ENDED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})

_STEP_OF = {title: step for step, title in TITLES.items()} | {step: step for step in TITLES}


@dataclass(frozen=True)
class Task:
    """A step of a run, as Kubeflow knows it."""

    step: str
    state: str
    problem: str = ""

    def __str__(self) -> str:
        """Return it for the terminal."""
        told = f"{TITLES[self.step]}: {WORDS.get(self.state, self.state.lower())}"
        return f"{told} ({self.problem})" if self.problem else told


def step_of(name: str) -> str:
    """Return the step of a task, by its name or title; empty for a task of the engine's own."""
    return _STEP_OF.get(name, "")


def outcome(tasks: Mapping[str, Task]) -> Outcome | None:
    """Return the outcome of a run that succeeded, by its steps, or None."""
    done = {step for step, task in tasks.items() if task.state == "SUCCEEDED"}
    for step, known in _OUTCOMES.items():
        if step in done:
            return known
    return "nothing new" if "checkout" in done and "prepare" not in tasks else None
