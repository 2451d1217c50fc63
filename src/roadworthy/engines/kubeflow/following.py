"""A run on Kubeflow is watched until it ends, and how it ended is read from its own report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tenacity

from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.client import Client, KubeflowError, UnavailableError
from roadworthy.engines.kubeflow.tasks import ENDED, TITLES, Task, outcome, step_of
from roadworthy.steps.report import JSON as REPORT
from roadworthy.tracking import records
from roadworthy.tracking.report import EXIT_CODES, Outcome

_LONGEST_PAUSE = 30.0
_PROBLEM_WIDTH = 200


class WaitingError(KubeflowError):
    """The run was not seen to end."""


@dataclass(frozen=True)
class State:
    """The state of a run.

    Parameters
    ----------
    state
        Kubeflow's word for it.
    tasks
        Its steps so far, in the order in which they started.
    problem
        The error that Kubeflow reports.
    """

    state: str
    tasks: Mapping[str, Task] = field(default_factory=dict)
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDED


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Parameters
    ----------
    outcome
        As a run report names it; empty where only Kubeflow knows that it succeeded.
    why
        The reason, in a sentence.
    exit_code
        The exit status of the command.
    """

    outcome: str
    why: str
    exit_code: ExitCode


def watch(
    client: Client, run: str, *, timeout: float | None, tell: Callable[[str], None]
) -> Iterator[State]:
    """Yield the state of a run until it has ended.

    ``kfp.Client.wait_for_run_completion`` never sees that a run was cancelled, and gives up at the
    first request that fails.

    Parameters
    ----------
    timeout
        Seconds to wait; None without a limit.
    tell
        Gets a sentence when Kubeflow becomes unavailable.

    Raises
    ------
    WaitingError
        It takes longer, or Kubeflow is unavailable for too long. The run continues.
    """
    settings = client.settings
    deadline = None if timeout is None else time.monotonic() + timeout

    def told(attempt: tenacity.RetryCallState) -> None:
        if attempt.attempt_number == 1 and attempt.outcome is not None:
            tell(f"{attempt.outcome.exception()} Retrying for {settings.outage_seconds:g} s.")

    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_delay(settings.outage_seconds),
        retry=tenacity.retry_if_exception_type(UnavailableError),
        wait=tenacity.wait_exponential_jitter(
            initial=settings.poll_seconds, max=_LONGEST_PAUSE, jitter=settings.poll_seconds
        ),
        before_sleep=told,
        reraise=True,
    )
    while True:
        try:
            state = _state(attempts(client.get_run, run))
        except UnavailableError as error:
            raise WaitingError(
                f"{error} Kubeflow was unavailable for {settings.outage_seconds:g} s; the run "
                f"continues without this command, see {settings.run_address(run)}."
            ) from error
        yield state
        if state.ended:
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise WaitingError(
                f"The run was still running after {timeout:g} s, and continues: see "
                f"{settings.run_address(run)}, or wait longer with --timeout."
            )
        time.sleep(settings.poll_seconds)


def conclude(settings: Settings, run: str, state: State) -> Verdict:
    """Return how a run ended, by its own report, or else by its steps.

    Parameters
    ----------
    settings
        They name the store of run reports.
    state
        The run's last state in Kubeflow.
    """
    report, problem = _report(settings, run)
    well = state.state in ("SUCCEEDED", "SKIPPED")
    if state.state == "CANCELED":
        return _ended("failed", "The run was cancelled in Kubeflow. Submit it again.")
    if report is not None and (well or EXIT_CODES[report["outcome"]] != ExitCode.DONE):
        return _ended(report["outcome"], report["why"])
    if not well:
        failed = [str(task) for task in state.tasks.values() if task.state == "FAILED"]
        told = [*failed, state.problem, "Kubeflow does not tell which step failed"]
        cause = next(filter(None, told))
        return _ended("failed", f"{cause}. Read the log of the step in Kubeflow, and submit again.")
    if known := outcome(state.tasks):
        last = [step for step in state.tasks if step != "report"][-1]
        return _ended(known, f"The last step was: {TITLES[last]}. {problem}".strip())
    return Verdict("", f"Kubeflow reports success. {problem}".strip(), ExitCode.DONE)


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


def _state(run: Any) -> State:
    details = (run.run_details.task_details if run.run_details else None) or []
    tasks: dict[str, Task] = {}
    for detail in details:
        if step := step_of(detail.display_name or ""):
            tasks[step] = Task(step, detail.state or "PENDING", _problem(detail.error))
    return State(run.state or "PENDING", tasks, _problem(run.error))


def _problem(error: Any) -> str:
    message = str(error.message or "").strip() if error else ""
    return message.splitlines()[0][:_PROBLEM_WIDTH] if message else ""
