"""A model's schedule: the one recurring run that is named as the model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import kfp_server_api

from roadworthy.engines.kubeflow.connection import (
    Connection,
    KubeflowError,
    MissingError,
    ensure,
    everything,
    named,
)
from roadworthy.engines.kubeflow.cron import for_kubeflow, for_people
from roadworthy.engines.kubeflow.submission import ensure_experiment, find_experiment, find_pipeline

_ENABLE, _DISABLE = "ENABLE", "DISABLE"


class ScheduleError(KubeflowError):
    """A schedule cannot be made."""


@dataclass(frozen=True)
class Schedule:
    """When a model's pipeline runs by itself.

    Parameters
    ----------
    cron
        The times, as crontab writes them, in the clock of Kubeflow's controller: UTC unless its
        CRON_SCHEDULE_TIMEZONE says otherwise.
    trigger
        Why its runs say that they run.
    active
        Whether it runs; one that was switched off in Kubeflow's pages does not.
    """

    id: str
    model: str
    cron: str
    trigger: str
    active: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def current(connection: Connection, model: str) -> Schedule | None:
    """Return a model's schedule, or None."""
    return _foremost(model, _all(connection, model, find_experiment(connection)))


def put(connection: Connection, model: str, *, cron: str, trigger: str) -> Schedule:
    """Make a model's schedule the one that is given, and return it.

    A recurring run cannot be changed, so another one takes its place. It is made switched off, and
    switched on when no other one is on: at no time do two of them start runs. It names no version
    of the pipeline, so each run is one of the latest, at the tip of the branch; no run's id
    either, so that each has Kubeflow's own.

    Raises
    ------
    CronError
        These are no times.
    ScheduleError
        There is no pipeline yet that could run, or somebody else made another schedule meanwhile.
    """
    times = for_kubeflow(cron)
    pipeline = find_pipeline(connection, model)
    if pipeline is None or not _has_version(connection, pipeline):
        raise ScheduleError(
            f"Kubeflow has no pipeline of {model} that could run: send it the first with "
            f"`roadworthy submit {model}`, then say this again."
        )
    experiment = ensure_experiment(connection)
    wanted = kfp_server_api.V2beta1RecurringRun(
        display_name=model,
        description=f"Runs the pipeline of {model} at {for_people(times)}.",
        experiment_id=experiment,
        pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=pipeline
        ),
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters={"trigger": trigger}),
        service_account=connection.settings.service_account,
        trigger=kfp_server_api.V2beta1Trigger(
            cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=times)
        ),
        mode=_DISABLE,
        max_concurrency="1",
        no_catchup=True,
    )
    create = connection.schedules.recurring_run_service_create_recurring_run
    chosen = ensure(lambda: _like(connection, wanted), lambda: create(wanted))
    for one in _all(connection, model, experiment):
        if not _same(one, chosen):
            _remove(connection, one)
    if chosen.mode != _ENABLE:
        with suppress(MissingError):  # what is there in its place is seen below
            connection.schedules.recurring_run_service_enable_recurring_run(chosen.recurring_run_id)
    found = _foremost(model, _all(connection, model, experiment))
    asked = (for_people(times), trigger, True)
    if found is None or (found.cron, found.trigger, found.active) != asked:
        raise ScheduleError(
            f"Somebody else changed the schedule of {model} at the same time, so it is not as you "
            f"say: see `roadworthy schedule {model}`, and say this again if yours is to be it."
        )
    return found


def remove(connection: Connection, model: str) -> Schedule | None:
    """Remove a model's schedule, and return it as it was; None when there was none."""
    found = _all(connection, model, find_experiment(connection))
    before = _foremost(model, found)
    for one in found:
        _remove(connection, one)
    return before


def _all(connection: Connection, model: str, experiment: str | None) -> list[Any]:
    """Return a model's recurring runs: more than one only if a change was not finished."""
    if experiment is None:
        return []
    found = everything(
        connection.schedules.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        experiment_id=experiment,
        filter=named(model),
    )
    return list(found)


def _like(connection: Connection, wanted: Any) -> Any:
    """Return a recurring run that differs from the wanted one in nothing but its id."""
    for one in _all(connection, wanted.display_name, wanted.experiment_id):
        if _content(one) == _content(wanted):
            return one
    return None


def _foremost(model: str, found: list[Any]) -> Schedule | None:
    """Return the recurring run that is at work, or else the last one, or None."""
    described = [_described(model, one) for one in found]
    active = [one for one in described if one.active]
    return next(reversed(active or described), None)


def _content(one: Any) -> tuple[Any, ...]:
    reference, config = one.pipeline_version_reference, one.runtime_config
    return (
        _times(one),
        reference and (reference.pipeline_id, reference.pipeline_version_id or ""),
        config and config.parameters,
        one.service_account,
    )


def _described(model: str, one: Any) -> Schedule:
    parameters = (one.runtime_config.parameters if one.runtime_config else None) or {}
    return Schedule(
        str(one.recurring_run_id),
        model,
        for_people(_times(one)),
        str(parameters.get("trigger", "")),
        active=one.mode == _ENABLE,
    )


def _times(one: Any) -> str:
    found = one.trigger and one.trigger.cron_schedule and one.trigger.cron_schedule.cron
    return str(found or "")


def _has_version(connection: Connection, pipeline: str) -> bool:
    listing = connection.pipelines.pipeline_service_list_pipeline_versions
    return any(True for _ in everything(listing, "pipeline_versions", pipeline_id=pipeline))


def _same(one: Any, other: Any) -> bool:
    return bool(one.recurring_run_id == other.recurring_run_id)


def _remove(connection: Connection, one: Any) -> None:
    with suppress(MissingError):  # somebody else was quicker
        connection.schedules.recurring_run_service_delete_recurring_run(one.recurring_run_id)
