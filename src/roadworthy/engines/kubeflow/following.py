"""A run on Kubeflow, looked at until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tenacity

from roadworthy.engines.kubeflow.connection import Connection, KubeflowError, UnreachableError
from roadworthy.engines.kubeflow.tasks import ENDED, Task, step_of

_LONGEST_PAUSE = 30.0
_PROBLEM_WIDTH = 200


class WaitingError(KubeflowError):
    """The run was not seen to end."""


@dataclass(frozen=True)
class State:
    """How a run stands.

    Parameters
    ----------
    state
        Kubeflow's word for it.
    tasks
        Its steps so far, in the order in which they began.
    problem
        What Kubeflow says is wrong.
    """

    state: str
    tasks: Mapping[str, Task] = field(default_factory=dict)
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


def watch(
    connection: Connection, run: str, *, timeout: float | None, tell: Callable[[str], None]
) -> Iterator[State]:
    """Yield how a run stands again and again, until it has ended.

    Parameters
    ----------
    timeout
        Seconds after which it is waited for no longer; None for ever.
    tell
        Is given a sentence when Kubeflow does not answer for a while.

    Raises
    ------
    WaitingError
        It takes longer, or Kubeflow does not answer for too long. The run goes on.
    """
    settings = connection.settings
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        state = _patiently(connection, run, tell)
        yield state
        if state.ended:
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise WaitingError(
                f"The run was still going on after {timeout:g} s, and goes on: see "
                f"{settings.run_address(run)}, or wait longer with --timeout."
            )
        time.sleep(settings.poll_seconds)


def _patiently(connection: Connection, run: str, tell: Callable[[str], None]) -> State:
    """Return how a run stands, also if Kubeflow is away for a while."""
    settings = connection.settings

    def told(attempt: tenacity.RetryCallState) -> None:
        if attempt.attempt_number == 1 and attempt.outcome is not None:
            tell(f"{attempt.outcome.exception()} Asking again for {settings.outage_seconds:g} s.")

    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_delay(settings.outage_seconds),
        retry=tenacity.retry_if_exception_type(UnreachableError),
        wait=tenacity.wait_exponential_jitter(
            initial=settings.poll_seconds, max=_LONGEST_PAUSE, jitter=settings.poll_seconds
        ),
        before_sleep=told,
        reraise=True,
    )
    try:
        return _state(attempts(connection.runs.run_service_get_run, run))
    except UnreachableError as error:
        raise WaitingError(
            f"{error} It was asked for {settings.outage_seconds:g} s; the run goes on without "
            f"that, see {settings.run_address(run)}."
        ) from error


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
