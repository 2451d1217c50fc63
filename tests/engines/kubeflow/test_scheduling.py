"""A model has one schedule, and never two that start runs."""

import pytest

from roadworthy.engines.kubeflow import scheduling
from roadworthy.engines.kubeflow.client import KubeflowError, UnavailableError
from roadworthy.engines.kubeflow.scheduling import ScheduleError
from roadworthy.engines.kubeflow.submission import submit


@pytest.fixture
def pipeline(client, package):
    """The client of a Kubeflow where a run was submitted before."""
    submit(client, package, "[data] at [now]", {})
    return client


def put(client, cron="0 3 * * 1", trigger="data"):
    return scheduling.put(client, "fuel", cron=cron, trigger=trigger)


def test_a_schedule_is_named_as_the_model_and_runs_the_latest_version(kfp_api, pipeline):
    made = put(pipeline, trigger="maintenance")

    (kept,) = kfp_api.schedules.values()
    assert kept.display_name == "fuel"
    assert kept.mode == "ENABLE"
    assert kept.trigger.cron_schedule.cron == "0 0 3 * * 1"
    assert kept.service_account == "roadworthy-pipeline"
    assert not kept.pipeline_version_reference.pipeline_version_id
    assert kept.max_concurrency == "1"
    assert kept.no_catchup
    assert (made.cron, made.trigger, made.active) == ("0 3 * * 1", "maintenance", True)
    assert scheduling.current(pipeline, "fuel") == made
    assert kfp_api.fire(kept).runtime_config.parameters == {"trigger": "maintenance"}


def test_another_time_replaces_the_first_and_never_are_two_active(kfp_api, pipeline):
    first = put(pipeline)
    second = put(pipeline, cron="30 0 4 * * *", trigger="maintenance")

    assert list(kfp_api.schedules) == [second.id]
    assert first.id != second.id
    assert (second.cron, second.trigger) == ("30 0 4 * * *", "maintenance")
    assert put(pipeline, cron="30 0 4 * * *", trigger="maintenance") == second
    assert kfp_api.most_active == 1


def test_a_disabled_schedule_is_seen_and_enabled_by_making_it_again(pipeline):
    made = put(pipeline)
    pipeline.disable_recurring_run(made.id)

    assert not scheduling.current(pipeline, "fuel").active
    assert put(pipeline) == made


def test_an_unfinished_change_is_finished_by_the_next(kfp_api, pipeline, monkeypatch):
    put(pipeline)

    def dies(_):
        raise UnavailableError("It went away.")

    monkeypatch.setattr(pipeline, "enable_recurring_run", dies)
    with pytest.raises(UnavailableError):
        put(pipeline, cron="0 5 * * 1")
    monkeypatch.undo()

    changed = put(pipeline, cron="0 5 * * 1")

    assert list(kfp_api.schedules) == [changed.id]
    assert changed.active
    assert kfp_api.most_active == 1


def test_it_is_deleted_and_the_schedule_of_another_model_is_not(kfp_api, pipeline, monkeypatch):
    put(pipeline)
    (other,) = kfp_api.schedules.values()
    other.display_name = "boats"
    made = put(pipeline)
    delete = pipeline.delete_recurring_run

    def somebody_was_first(number):
        delete(number)
        return delete(number)

    monkeypatch.setattr(pipeline, "delete_recurring_run", somebody_was_first)

    assert scheduling.remove(pipeline, "fuel") == made
    assert list(kfp_api.schedules.values()) == [other]
    assert scheduling.current(pipeline, "fuel") is None
    assert scheduling.remove(pipeline, "fuel") is None


def test_a_model_that_was_never_submitted_cannot_be_scheduled(client):
    assert scheduling.current(client, "fuel") is None
    with pytest.raises(ScheduleError, match="submit it first with `roadworthy submit fuel`"):
        put(client)


@pytest.mark.parametrize(
    ("cron", "told"),
    [("every monday", "has 2 fields: write the five"), ("99 3 * * 1", "not a supported format")],
)
def test_wrong_times_are_told_and_change_nothing(pipeline, cron, told):
    made = put(pipeline)

    with pytest.raises(KubeflowError, match=told):
        put(pipeline, cron=cron)
    assert scheduling.current(pipeline, "fuel") == made


def test_of_two_at_once_who_lost_is_told(kfp_api, pipeline, monkeypatch):
    # given somebody who changes the schedule before ours is enabled
    enable = pipeline.enable_recurring_run

    def late(number):
        monkeypatch.undo()
        put(pipeline, cron="30 4 * * *")
        return enable(number)

    monkeypatch.setattr(pipeline, "enable_recurring_run", late)

    with pytest.raises(ScheduleError, match="Somebody else changed the schedule of fuel"):
        put(pipeline)

    (kept,) = kfp_api.schedules.values()
    assert (kept.trigger.cron_schedule.cron, kept.mode) == ("0 30 4 * * *", "ENABLE")
