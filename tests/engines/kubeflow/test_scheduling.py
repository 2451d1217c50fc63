"""A model has one schedule: made, changed and removed by the same words, and never two at work."""

from collections import Counter

import pytest

from roadworthy.engines.kubeflow import scheduling
from roadworthy.engines.kubeflow.connection import UnreachableError
from roadworthy.engines.kubeflow.cron import CronError
from roadworthy.engines.kubeflow.scheduling import ScheduleError
from roadworthy.engines.kubeflow.submission import submit


@pytest.fixture
def pipeline(connection, package):
    """A pipeline that was submitted before."""
    submit(connection, package, "[data] at [now]", {})
    return connection


def put(connection, cron="0 3 * * 1", trigger="data"):
    return scheduling.put(connection, "fuel", cron=cron, trigger=trigger)


def test_a_schedule_is_named_as_the_model_and_runs_the_latest_version(kfp_api, pipeline):
    made = put(pipeline)

    (kept,) = kfp_api.schedules.values()
    assert kept.display_name == "fuel"
    assert kept.mode == "ENABLE"
    assert kept.trigger.cron_schedule.cron == "0 0 3 * * 1"
    assert kept.service_account == "roadworthy-pipeline"
    assert kept.pipeline_version_reference.pipeline_version_id is None
    assert kept.max_concurrency == "1"
    assert kept.no_catchup
    assert (made.cron, made.trigger, made.active) == ("0 3 * * 1", "data", True)
    assert scheduling.current(pipeline, "fuel") == made


def test_its_runs_have_no_id_but_their_own(kfp_api, pipeline):
    put(pipeline, trigger="maintenance")
    (kept,) = kfp_api.schedules.values()

    first, second = kfp_api.fire(kept), kfp_api.fire(kept)

    assert first.run_id != second.run_id
    assert "run" not in kept.runtime_config.parameters
    assert first.runtime_config.parameters == {"trigger": "maintenance"}


def test_another_time_takes_the_place_of_the_first_and_never_are_two_at_work(kfp_api, pipeline):
    first = put(pipeline)
    second = put(pipeline, cron="30 4 * * *", trigger="maintenance")

    assert [one.recurring_run_id for one in kfp_api.schedules.values()] == [second.id]
    assert first.id != second.id
    assert (second.cron, second.trigger) == ("30 4 * * *", "maintenance")
    assert kfp_api.most_active == 1


def test_the_same_again_changes_nothing(kfp_api, pipeline):
    assert put(pipeline) == put(pipeline)
    assert kfp_api.most_active == len(kfp_api.schedules) == 1


def test_one_that_was_switched_off_is_seen_to_be_and_switched_on_by_saying_it_again(
    kfp_api, pipeline
):
    made = put(pipeline)
    pipeline.schedules.recurring_run_service_disable_recurring_run(made.id)
    seen = scheduling.current(pipeline, "fuel")

    assert seen is not None
    assert not seen.active
    assert put(pipeline) == made


def test_a_change_that_was_not_finished_is_finished_by_the_next(kfp_api, pipeline):
    put(pipeline)
    enable = pipeline.schedules.recurring_run_service_enable_recurring_run

    def dies(_):
        raise UnreachableError("It went away.")

    pipeline.schedules.recurring_run_service_enable_recurring_run = dies
    with pytest.raises(UnreachableError):
        put(pipeline, cron="0 5 * * 1")
    pipeline.schedules.recurring_run_service_enable_recurring_run = enable

    changed = put(pipeline, cron="0 5 * * 1")

    assert [one.recurring_run_id for one in kfp_api.schedules.values()] == [changed.id]
    assert changed.active
    assert kfp_api.most_active == 1


@pytest.mark.parametrize("lost", [1, 2])
def test_it_is_not_made_twice_when_an_answer_is_lost(kfp_api, pipeline, lost):
    kfp_api.lost_answers = 1

    put(pipeline)

    assert len(kfp_api.schedules) == 1


def test_it_is_removed_and_then_there_is_none(kfp_api, pipeline):
    made = put(pipeline)

    assert scheduling.remove(pipeline, "fuel") == made
    assert kfp_api.schedules == {}
    assert scheduling.current(pipeline, "fuel") is None
    assert scheduling.remove(pipeline, "fuel") is None


def test_a_list_is_asked_for_again_only_after_a_change(kfp_api, pipeline):
    kfp_api.requests.clear()
    made = put(pipeline)
    asked = Counter(kfp_api.requests)
    kfp_api.requests.clear()
    scheduling.remove(pipeline, "fuel")

    assert asked["GET", "/experiments"] == 1
    assert asked["GET", "/recurringruns"] == 3  # before it is made, before it is on, at the end
    assert kfp_api.requests == [
        ("GET", "/experiments"),
        ("GET", "/recurringruns"),
        ("DELETE", f"/recurringruns/{made.id}"),
    ]


def test_the_schedule_of_another_model_is_let_be(kfp_api, pipeline):
    put(pipeline)
    (other,) = kfp_api.schedules.values()
    other.display_name = "boats"

    put(pipeline)
    scheduling.remove(pipeline, "fuel")

    assert list(kfp_api.schedules.values()) == [other]


def test_a_model_that_was_never_submitted_has_nothing_to_run(connection):
    assert scheduling.current(connection, "fuel") is None
    with pytest.raises(ScheduleError, match="send it the first with `roadworthy submit fuel`"):
        put(connection)


def test_times_that_are_none_change_nothing(kfp_api, pipeline):
    made = put(pipeline)

    with pytest.raises(CronError):
        put(pipeline, cron="every monday")
    assert scheduling.current(pipeline, "fuel") == made


def test_of_two_at_once_who_lost_is_told_whose_schedule_it_is(kfp_api, pipeline, monkeypatch):
    # given somebody who changes the schedule before ours is switched on
    enable = pipeline.schedules.recurring_run_service_enable_recurring_run

    def late(number):
        monkeypatch.undo()
        put(pipeline, cron="30 4 * * *")
        return enable(number)

    monkeypatch.setattr(pipeline.schedules, "recurring_run_service_enable_recurring_run", late)

    with pytest.raises(ScheduleError, match="Somebody else changed the schedule of fuel"):
        put(pipeline)

    (kept,) = kfp_api.schedules.values()
    assert (kept.trigger.cron_schedule.cron, kept.mode) == ("0 30 4 * * *", "ENABLE")


def test_what_somebody_else_removed_first_is_removed(kfp_api, pipeline, monkeypatch):
    put(pipeline)
    delete = pipeline.schedules.recurring_run_service_delete_recurring_run

    def late(number):
        delete(number)
        return delete(number)

    monkeypatch.setattr(pipeline.schedules, "recurring_run_service_delete_recurring_run", late)

    scheduling.remove(pipeline, "fuel")

    assert kfp_api.schedules == {}
