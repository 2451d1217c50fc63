"""How a run on Kubeflow ended: its own report tells, or else what Kubeflow knows of its steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.following import State
from roadworthy.engines.kubeflow.tasks import TITLES, outcome
from roadworthy.steps.report import JSON as REPORT
from roadworthy.tracking import records
from roadworthy.tracking.report import EXIT_CODES, Outcome


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Parameters
    ----------
    outcome
        In the words of a report; empty where only Kubeflow knows, and says that it went well.
    why
        Why it ended so, in a sentence.
    exit_code
        What the command line ends with.
    """

    outcome: str
    why: str
    exit_code: ExitCode


def conclude(settings: Settings, run: str, state: State) -> Verdict:
    """Return how a run ended.

    Parameters
    ----------
    settings
        They say where the reports of runs are.
    state
        How Kubeflow says that it ended.
    """
    report, problem = _report(settings, run)
    well = state.state in ("SUCCEEDED", "SKIPPED")
    if state.state == "CANCELED":
        return _ended("failed", "The run was stopped in Kubeflow. Submit it again.")
    if report is not None and (well or EXIT_CODES[report["outcome"]] != ExitCode.DONE):
        return _ended(report["outcome"], report["why"])
    if not well:
        return _ended("failed", _failure(state))
    if known := outcome(state.tasks):
        return _ended(known, f"{_done(state)} {problem}".strip())
    return Verdict("", f"Kubeflow says that it went well. {problem}".strip(), ExitCode.DONE)


def _ended(outcome: Outcome, why: str) -> Verdict:
    return Verdict(outcome, why, EXIT_CODES[outcome])


def _report(settings: Settings, run: str) -> tuple[dict[str, Any] | None, str]:
    """Return a run's report, or why it cannot be read."""
    if "records" not in settings.model_fields_set:
        return None, "For its report, set ROADWORTHY_RECORDS to where the steps write it."
    try:
        content = records.get(settings.records, run, REPORT)
        report = None if content is None else json.loads(content)
    except records.RecordError as error:
        return None, f"Its report: {error}"
    except ValueError:
        report = None
    if report is None or report.get("outcome") not in EXIT_CODES:
        return None, f"There is no report of it in {settings.records}."
    return report, ""


def _done(state: State) -> str:
    last = [task for step, task in state.tasks.items() if step != "report"][-1]
    return f"The last step was: {TITLES[last.step]}."


def _failure(state: State) -> str:
    failed = [str(task) for task in state.tasks.values() if task.state == "FAILED"]
    told = failed[0] if failed else state.problem or "Kubeflow does not say which step failed"
    return f"{told}. Look at the log of the step in Kubeflow, and submit the run again."
