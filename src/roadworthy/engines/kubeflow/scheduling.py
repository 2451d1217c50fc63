"""A model's schedule: the one recurring run that is named as the model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from roadworthy.engines.kubeflow.client import (
    Client,
    KubeflowError,
    MissingError,
    ensure,
    everything,
    named,
)
from roadworthy.engines.kubeflow.submission import ensure_experiment, find_experiment, find_pipeline

_FIVE, _SIX = 5, 6


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
        The trigger of its runs.
    active
        Whether it starts runs; one that was disabled in Kubeflow's pages does not.
    """

    id: str
    model: str
    cron: str
    trigger: str
    active: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def current(client: Client, model: str) -> Schedule | None:
    """Return a model's schedule, or None."""
    return _foremost(_all(client, model, find_experiment(client)))


def put(client: Client, model: str, *, cron: str, trigger: str) -> Schedule:
    """Make a model's schedule the given one, and return it.

    A recurring run cannot be changed, so another one replaces it. It is made disabled, and enabled
    after the others were deleted: at no time do two of them start runs. It names no version of the
    pipeline, so each run takes the latest one.

    Parameters
    ----------
    cron
        Five fields as in crontab, ``0 3 * * 1``, or six with the second first. Kubeflow checks
        their values.

    Raises
    ------
    ScheduleError
        The fields are not five or six, there is no pipeline yet that could run, or somebody else
        made another schedule meanwhile.
    KubeflowError
        Kubeflow refuses the times.
    """
    times = _for_kubeflow(cron)
    pipeline = find_pipeline(client, model)
    if pipeline is None or not client.list_pipeline_versions(pipeline).pipeline_versions:
        raise ScheduleError(
            f"Kubeflow has no pipeline of {model} that could run: submit it first with "
            f"`roadworthy submit {model}`, then run this command again."
        )
    experiment = ensure_experiment(client)

    def find() -> Any:
        wanted = (times, pipeline, {"trigger": trigger}, client.settings.service_account)
        alike = (one for one in _all(client, model, experiment) if _content(one) == wanted)
        return next(alike, None)

    def create() -> Any:
        return client.create_recurring_run(
            experiment,
            model,
            description=f"Runs the pipeline of {model} at {_for_people(times)}.",
            cron_expression=times,
            no_catchup=True,
            params={"trigger": trigger},
            pipeline_id=pipeline,
            version_id="",  # the latest, each time
            enabled=False,
            service_account=client.settings.service_account,
        )

    chosen = _described(ensure(find, create))
    for one in _all(client, model, experiment):
        if one.recurring_run_id != chosen.id:
            _delete(client, one)
    if not chosen.active:
        with suppress(MissingError):  # what replaced it is seen below
            client.enable_recurring_run(chosen.id)
    found = _foremost(_all(client, model, experiment))
    wanted = (_for_people(times), trigger, True)
    if found is None or (found.cron, found.trigger, found.active) != wanted:
        raise ScheduleError(
            f"Somebody else changed the schedule of {model} at the same time: see "
            f"`roadworthy schedule {model}`, and run this command again to replace it."
        )
    return found


def remove(client: Client, model: str) -> Schedule | None:
    """Delete a model's schedule, and return it as it was; None when there was none."""
    found = _all(client, model, find_experiment(client))
    for one in found:
        _delete(client, one)
    return _foremost(found)


def _for_kubeflow(cron: str) -> str:
    """Return times in the six fields that Kubeflow reads, the second first."""
    fields = cron.split()
    if len(fields) not in (_FIVE, _SIX):
        raise ScheduleError(
            f"{cron!r} has {len(fields)} fields: write the five of crontab (minute, hour, day of "
            f'the month, month, day of the week), e.g. "0 3 * * 1", or six with the second first.'
        )
    return " ".join(fields if len(fields) == _SIX else ["0", *fields])


def _for_people(times: str) -> str:
    """Return times as crontab writes them, where it can: at second 0."""
    first, _, rest = times.partition(" ")
    return rest if first == "0" and len(rest.split()) == _FIVE else times


def _all(client: Client, model: str, experiment: str | None) -> list[Any]:
    """Return a model's recurring runs: more than one only if a change was not finished."""
    if experiment is None:
        return []
    listing = client.list_recurring_runs
    return list(
        everything(listing, "recurring_runs", experiment_id=experiment, filter=named(model))
    )


def _foremost(found: list[Any]) -> Schedule | None:
    """Return the recurring run that starts runs, or else the last one, or None."""
    described = [_described(one) for one in found]
    return next(reversed([one for one in described if one.active] or described), None)


def _described(one: Any) -> Schedule:
    times, _, parameters, _ = _content(one)
    trigger, active = str(parameters.get("trigger", "")), one.mode == "ENABLE"
    model = str(one.display_name)
    return Schedule(str(one.recurring_run_id), model, _for_people(times), trigger, active)


def _content(one: Any) -> tuple[str, str | None, dict[str, Any], str]:
    """Return times, pipeline, parameters and account; no pipeline where a version is pinned."""
    reference, config, trigger = one.pipeline_version_reference, one.runtime_config, one.trigger
    is_latest = reference and not reference.pipeline_version_id
    return (
        str(trigger.cron_schedule.cron) if trigger and trigger.cron_schedule else "",
        reference.pipeline_id if is_latest else None,
        (config.parameters if config else None) or {},
        str(one.service_account),
    )


def _delete(client: Client, one: Any) -> None:
    with suppress(MissingError):  # somebody else deleted it first
        client.delete_recurring_run(one.recurring_run_id)
