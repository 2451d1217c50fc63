"""A run is started once, with all that it needs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from roadworthy.engines.kubeflow.client import KubeflowError, UnavailableError
from roadworthy.engines.kubeflow.submission import VersionError, run_name, submit

NAME = "[data] at [2026-11-21T10:00:00Z]"
ARGUMENTS = {"trigger": "data"}


def test_the_name_is_trigger_and_time():
    moment = datetime.fromisoformat("2026-11-21T10:00:00.5Z")

    assert run_name("data", moment) == NAME
    assert run_name("data", moment.astimezone(timezone(timedelta(hours=5.5)))) == NAME


@pytest.mark.parametrize("namespace", ["", "team"])
def test_the_first_run_makes_pipeline_version_and_experiment(kfp_api, connect, package, namespace):
    kfp_api.namespace = namespace

    submitted = submit(connect(namespace=namespace), package, NAME, ARGUMENTS)

    (pipeline,) = kfp_api.pipelines.values()
    (version,) = kfp_api.versions.values()
    (experiment,) = kfp_api.experiments.values()
    (run,) = kfp_api.runs.values()
    assert pipeline.display_name == "fuel-production"
    assert (pipeline.namespace or "") == (experiment.namespace or "") == namespace
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


def test_a_commit_is_a_version_and_a_name_or_other_arguments_are_a_run(kfp_api, client, package):
    submit(client, package, NAME, ARGUMENTS)
    submit(client, package, "[data] at [2027-01-01T00:00:00Z]", ARGUMENTS)
    submit(client, package, NAME, {**ARGUMENTS, "force": True})
    assert len(kfp_api.pipelines) == len(kfp_api.versions) == len(kfp_api.experiments) == 1
    assert len(kfp_api.runs) == 3

    submit(client, replace(package, commit="0123" * 10), NAME, ARGUMENTS)
    assert len(kfp_api.pipelines) == 1
    assert (len(kfp_api.versions), len(kfp_api.runs)) == (2, 4)


def test_the_same_version_with_another_content_is_refused(kfp_api, client, package):
    submit(client, package, NAME, ARGUMENTS)
    other = replace(package, content=package.content + b"# other\n", image="other@sha256:0")

    with pytest.raises(VersionError, match=r"with another content \(.*registry\.example/pipeline"):
        submit(client, other, NAME, ARGUMENTS)
    assert len(kfp_api.versions) == len(kfp_api.runs) == 1


def test_a_repeated_job_follows_its_run_unless_that_is_lost(kfp_api, client, package):
    first = submit(client, package, NAME, ARGUMENTS)
    assert submit(client, package, NAME, ARGUMENTS) == replace(first, found=True)

    for lost in ("FAILED", "CANCELED"):
        kfp_api.runs[first.run].state = lost
        anew = submit(client, package, NAME, ARGUMENTS)
        assert not anew.found
        assert anew.run != first.run
        first = anew


@pytest.mark.parametrize("lost", [1, 2])
def test_nothing_is_made_twice_when_responses_are_lost(kfp_api, client, package, lost):
    for arguments in (ARGUMENTS, {**ARGUMENTS, "force": True}):
        kfp_api.lost_answers = lost
        submit(client, package, NAME, arguments)

    kept = (kfp_api.pipelines, kfp_api.versions, kfp_api.experiments, kfp_api.runs)
    assert [len(one) for one in kept] == [1, 1, 1, 2]


def test_what_kubeflow_does_not_take_is_told(kfp_api, client, package):
    with pytest.raises(KubeflowError, match="The package is no pipeline"):
        submit(client, replace(package, content=b"root: 1\n"), NAME, ARGUMENTS)
    with pytest.raises(KubeflowError, match="The pipeline has no parameter speed"):
        submit(client, package, NAME, {"speed": "high"})
    kfp_api.refusal = 503
    with pytest.raises(UnavailableError, match="is unavailable"):
        submit(client, package, NAME, ARGUMENTS)
    assert not kfp_api.runs


def test_of_many_at_once_one_run_continues_and_all_follow_it(kfp_api, connect, client, package):
    submit(client, package, "[data] at [before]", ARGUMENTS)
    kfp_api.runs.clear()
    kfp_api.delay = 0.02

    def one(_):
        return submit(connect(poll_seconds=2.0), package, NAME, ARGUMENTS)

    with ThreadPoolExecutor(4) as people:
        done = list(people.map(one, range(4)))

    assert alive(kfp_api) == [done[0].run]
    assert {one.run for one in done} == {done[0].run}
    assert [one.found for one in done].count(False) == 1


def alive(kfp_api):
    return [run.run_id for run in kfp_api.runs.values() if run.state != "CANCELED"]
