"""A run is started once: with all that it needs, and not again by the same words."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.engines.kubeflow.connection import Connection, KubeflowError, UnreachableError
from roadworthy.engines.kubeflow.submission import VersionError, run_name, submit

NAME = "[data] at [2026-11-21T10:00:00Z]"
ARGUMENTS = {"trigger": "data"}


def test_the_name_is_trigger_and_time():
    moment = datetime.fromisoformat("2026-11-21T10:00:00Z")

    assert run_name("data", moment) == NAME
    assert run_name("data", moment.astimezone(timezone(timedelta(hours=5.5)))) == NAME


@given(st.datetimes(timezones=st.timezones()), st.sampled_from(["data", "feature", "maintenance"]))
def test_a_name_tells_its_trigger_and_its_moment_to_the_second(moment, trigger):
    name = run_name(trigger, moment)
    told, _, when = name.removeprefix("[").removesuffix("]").partition("] at [")

    assert told == trigger
    assert when.endswith("Z")
    read = datetime.fromisoformat(when)
    assert abs((read - moment).total_seconds()) < 1


def test_the_first_run_makes_pipeline_version_and_experiment(kfp_api, connection, package):
    submitted = submit(connection, package, NAME, ARGUMENTS)

    (pipeline,) = kfp_api.pipelines.values()
    (version,) = kfp_api.versions.values()
    (experiment,) = kfp_api.experiments.values()
    (run,) = kfp_api.runs.values()
    assert pipeline.display_name == "fuel-production"
    assert version.display_name == f"fuel-{package.commit}"
    assert version.pipeline_spec["platform_spec"]["platforms"]["kubernetes"]
    assert package.image in version.description
    assert experiment.display_name == "roadworthy"
    assert run.display_name == NAME
    assert run.service_account == "roadworthy-pipeline"
    assert run.runtime_config.parameters == ARGUMENTS
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert submitted.run == run.run_id
    assert submitted.address == f"{kfp_api.url}/#/runs/details/{run.run_id}"
    assert not submitted.found


def test_a_second_run_of_the_commit_takes_the_same_version(kfp_api, connection, package):
    submit(connection, package, NAME, ARGUMENTS)
    submit(connection, package, run_name("data", datetime.fromisoformat("2027-01-01T00Z")), {})

    assert len(kfp_api.pipelines) == len(kfp_api.versions) == len(kfp_api.experiments) == 1
    assert len(kfp_api.runs) == 2


def test_another_commit_is_another_version(kfp_api, connection, package):
    submit(connection, package, NAME, ARGUMENTS)
    submit(connection, replace(package, commit="0123" * 10), NAME, ARGUMENTS)

    assert len(kfp_api.pipelines) == 1
    assert len(kfp_api.versions) == len(kfp_api.runs) == 2


def test_the_same_version_with_another_content_is_refused(kfp_api, connection, package):
    submit(connection, package, NAME, ARGUMENTS)
    other = replace(package, content=package.content + b"# other\n", image="other@sha256:0")

    with pytest.raises(VersionError, match=r"with another content \(.*registry\.example/pipeline"):
        submit(connection, other, NAME, ARGUMENTS)
    assert len(kfp_api.versions) == len(kfp_api.runs) == 1


def test_a_job_that_is_run_again_takes_up_its_run(kfp_api, connection, package):
    first = submit(connection, package, NAME, ARGUMENTS)
    again = submit(connection, package, NAME, ARGUMENTS)

    assert again == replace(first, found=True)
    assert len(kfp_api.runs) == 1


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_run_that_came_to_nothing_is_started_anew(kfp_api, connection, package, ending):
    kfp_api.at_once, kfp_api.ending = True, ending
    first = submit(connection, package, NAME, ARGUMENTS)

    second = submit(connection, package, NAME, ARGUMENTS)

    assert not second.found
    assert first.run != second.run


def test_other_arguments_make_another_run(connection, package):
    first = submit(connection, package, NAME, ARGUMENTS)

    second = submit(connection, package, NAME, {**ARGUMENTS, "force": True})

    assert first.run != second.run


@pytest.mark.parametrize("lost", [1, 2])
def test_nothing_is_made_twice_when_answers_are_lost(kfp_api, connection, package, lost):
    kfp_api.lost_answers = lost

    submit(connection, package, NAME, ARGUMENTS)
    kfp_api.lost_answers = lost
    submit(connection, package, NAME, {**ARGUMENTS, "force": True})

    kept = (kfp_api.pipelines, kfp_api.versions, kfp_api.experiments)
    assert [len(one) for one in kept] == [1, 1, 1]
    assert len(kfp_api.runs) == 2


def test_in_a_multi_user_kubeflow_everything_is_in_ones_namespace(kfp_api, kubeflow, package):
    kfp_api.namespace = "team"
    settings = kubeflow.model_copy(update={"namespace": "team"})

    submit(Connection(settings), package, NAME, ARGUMENTS)

    (pipeline,), (experiment,) = kfp_api.pipelines.values(), kfp_api.experiments.values()
    assert pipeline.namespace == experiment.namespace == "team"


def test_what_kubeflow_does_not_take_is_told(connection, package):
    with pytest.raises(KubeflowError, match="The package is no pipeline"):
        submit(connection, replace(package, content=b"root: 1\n"), NAME, ARGUMENTS)
    with pytest.raises(KubeflowError, match="The pipeline has no parameter speed"):
        submit(connection, package, NAME, {"speed": "high"})
    with pytest.raises(KubeflowError, match="The parameter force is no BOOLEAN"):
        submit(connection, package, NAME, {"force": "yes"})


def test_nothing_is_started_at_a_kubeflow_that_is_away(kfp_api, connection, package):
    kfp_api.refusal = 503

    with pytest.raises(UnreachableError, match="is not well"):
        submit(connection, package, NAME, ARGUMENTS)
    assert not kfp_api.runs
    assert kfp_api.requests == [("GET", "/pipelines")] * 3


def alive(kfp_api):
    return [run.run_id for run in kfp_api.runs.values() if run.state != "CANCELED"]


def test_who_is_second_follows_the_run_of_who_was_first(
    kfp_api, kubeflow, connection, package, monkeypatch
):
    # given somebody who says the same after we looked, and before we made ours
    create, firsts = connection.runs.run_service_create_run, []

    def late(wanted):
        firsts.append(submit(Connection(kubeflow), package, NAME, ARGUMENTS))
        return create(wanted)

    monkeypatch.setattr(connection.runs, "run_service_create_run", late)

    ours = submit(connection, package, NAME, ARGUMENTS)

    assert [replace(first, found=True) for first in firsts] == [ours]
    assert len(kfp_api.runs) == 2
    assert alive(kfp_api) == [ours.run]


def test_who_looks_again_and_finds_the_run_of_somebody_else_did_not_start_it(
    kfp_api, kubeflow, connection, package, monkeypatch
):
    # given somebody who says the same after our first look
    look, firsts = connection.runs.run_service_list_runs, []

    def early(**asked):
        page = look(**asked)
        monkeypatch.setattr(connection.runs, "run_service_list_runs", look)
        firsts.append(submit(Connection(kubeflow), package, NAME, ARGUMENTS))
        return page

    monkeypatch.setattr(connection.runs, "run_service_list_runs", early)

    ours = submit(connection, package, NAME, ARGUMENTS)

    assert [replace(first, found=True) for first in firsts] == [ours]
    assert len(kfp_api.runs) == 1


def test_of_many_at_once_one_run_goes_on_and_all_follow_it(kfp_api, kubeflow, package):
    submit(Connection(kubeflow), package, "[data] at [before]", ARGUMENTS)
    kfp_api.runs.clear()
    kfp_api.delay = 0.02
    kubeflow = kubeflow.model_copy(update={"poll_seconds": 2.0})

    with ThreadPoolExecutor(4) as people:
        done = list(
            people.map(lambda _: submit(Connection(kubeflow), package, NAME, ARGUMENTS), range(4))
        )

    assert alive(kfp_api) == [done[0].run]
    assert {one.run for one in done} == {done[0].run}
    assert [one.found for one in done].count(False) == 1
