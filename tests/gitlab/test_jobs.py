"""The jobs themselves, run in a shell: their scripts, from a checkout to a run on Kubeflow."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from roadworthy.core.errors import ExitCode
from tests.gitlab.projects import Event, GitLab, git, told

IMAGE = f"registry.example/group/project/roadworthy/pipeline@sha256:{'a1' * 32}"
TOKEN = "a-token-that-nobody-may-see"
VENV = Path(sys.prefix)
MERGE_REQUEST = "merge_request_event"
OF_THESE_TESTS = ("COVERAGE_", "PYTEST_", "REQUIRE_ALL")


@pytest.fixture(scope="module")
def checkout(program, root, tmp_path_factory) -> GitLab:
    """A project with the files of the work tree; its jobs find their environment installed."""
    place = tmp_path_factory.mktemp("gitlab") / "project"
    listed = git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, place / name)
    (place / ".venv").mkdir()
    for part in VENV.iterdir():
        if part.name != ".installed":
            (place / ".venv" / part.name).symlink_to(part)
    made = GitLab(program, place, place.parent / "home")
    made.begin()
    return made


def run(
    checkout: GitLab, job: str, event: Event, *changed: str
) -> subprocess.CompletedProcess[str]:
    """Run a job of an event that changes these files.

    Its environment is that of these tests, which is stamped as the job's own. What another job has
    put into the cache bears the stamp of that one's directory: all jobs of a GitLab have the same.
    """
    build = checkout.build(job)
    shutil.rmtree(checkout.project / ".gitlab-ci-local" / "cache", ignore_errors=True)
    (checkout.project / ".venv" / ".installed").write_text(f"{build}\n")
    checkout.commit("Install")
    checkout.settle()
    checkout.change(*changed)
    checkout.commit("Change")
    paths = os.pathsep.join([str(build / "src"), str(build)])
    variables = {"PYTHONPATH": paths} | event.variables
    done = checkout.run(job, Event(event.source, variables=variables))
    assert "Installing" not in told(done)
    return done


def test_a_compiled_pipeline_that_is_old_fails_its_job(checkout):
    compiled = checkout.project / "pipelines" / "fuel.yaml"
    before = compiled.read_bytes()
    compiled.write_bytes(before.replace(b"Trains fuel", b"Brings fuel"))
    try:
        old = run(checkout, "compiled", Event(MERGE_REQUEST))
    finally:
        compiled.write_bytes(before)
    assert old.returncode != 0
    assert "pipelines/fuel.yaml is not up to date" in told(old)


def test_a_line_that_breaks_the_style_fails_its_job(checkout):
    wrong = checkout.project / "src" / "roadworthy" / "wrong.py"
    wrong.write_text("import os\n")
    variables = {"AWS_SECRET_ACCESS_KEY": TOKEN, "ROADWORTHY_DVC_REMOTE": "s3"}
    try:
        done = run(checkout, "lint", Event(MERGE_REQUEST, variables=variables))
    finally:
        wrong.unlink()
    assert done.returncode != 0
    assert re.search(r"wrong\.py:1:8", told(done))
    assert "F401" in told(done)
    assert TOKEN not in told(done)


@pytest.fixture
def own_environment(monkeypatch):
    """A job knows nothing of the tests that it runs in."""
    for name in list(os.environ):
        if name.startswith(OF_THESE_TESTS):
            monkeypatch.delenv(name)


def chosen(*arguments: str) -> Event:
    """A merge request whose jobs run some of their tests: all of them take minutes."""
    variables = {"PYTEST_ADDOPTS": " ".join(arguments), "WORKERS": "1"}
    return Event(MERGE_REQUEST, variables=variables)


def reported(checkout: GitLab, job: str) -> set[str]:
    """The tests that the report of a job has, by name; none of them failed."""
    suites = ET.parse(checkout.build(job) / "junit.xml").getroot()
    cases = suites.findall("./testsuite/testcase")
    assert cases
    assert {outcome.tag for case in cases for outcome in case} <= {"skipped"}
    return {case.attrib["name"].partition("[")[0] for case in cases}


def test_the_tests_of_a_merge_request_end_in_its_reports(
    checkout, jobs, own_environment, tmp_path, monkeypatch
):
    # Given a machine that has the packages of the job
    asked = tmp_path / "asked"
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(f'#!/bin/sh\necho "$@" >>"{asked}"\n')
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}{os.pathsep}{os.environ['PATH']}")

    # When its tests run
    done = run(checkout, "tests", chosen("tests/training/test_gate.py"))

    # Then the job is green, although one file of tests does not reach all code
    assert done.returncode == 0, told(done)
    assert asked.read_text().splitlines()[0].startswith("update")
    assert "nginx-light" in asked.read_text().splitlines()[1]
    # And GitLab finds each test
    assert "test_a_good_candidate_passes_every_check" in reported(checkout, "tests")
    # And each file of which the coverage is told, and the line with all of it
    build = checkout.build("tests")
    report = ET.parse(build / "coverage.xml").getroot()
    (source,) = (Path(found.text) for found in report.findall("./sources/source"))
    assert source == build
    rates = {
        found.attrib["filename"]: float(found.attrib["line-rate"]) for found in report.iter("class")
    }
    assert rates["src/roadworthy/training/gate.py"] > 0.9
    assert all((source / name).is_file() for name in rates)
    line = re.compile(jobs["tests"]["coverage"].strip("/"), re.MULTILINE)
    printed = line.findall(checkout.log("tests"))
    assert len(printed) == 1
    assert f"{printed[0]}% coverage" in told(done)


def test_parity_is_that_of_notebook_pipeline_graph_and_server(checkout, own_environment):
    done = run(checkout, "parity", chosen("--collect-only", "--quiet"))

    assert done.returncode == 0, told(done)
    story = "tests/stories/test_first_run.py"
    for file, test in (
        ("tests/notebooks/test_fuel.py", "chooses_and_fits_the_same_estimator_to_the_last_byte"),
        (story, "pipeline_and_package_give_the_same_estimator"),
        ("tests/models/fuel/test_graph.py", "the_graph_agrees_on_the_whole_test_set"),
        (story, "served_answers_agree_with_the_estimator"),
    ):
        assert re.search(rf"{file}::test_\w*{test}\b", told(done))


def test_a_merge_request_gets_the_report_of_its_candidate(checkout, seed, tmp_path):
    variables = {
        "ROADWORTHY_GIT_REMOTE": str(seed / "remote.git"),
        "CI_JOB_TOKEN": TOKEN,
    }

    done = run(checkout, "candidate", Event(MERGE_REQUEST, variables=variables))

    assert done.returncode == 0, told(done)
    report = checkout.artifact("candidate", "candidate.md")
    assert "## Candidate of fuel: passed the gate" in report
    assert "There is no release yet" in report
    assert git(checkout.project, "rev-parse", "HEAD")[:12] in report
    assert TOKEN not in told(done) + report


@pytest.fixture
def kubeflow(kfp_api):
    """A Kubeflow that wants the token and comes to a verdict at once, and a merge's variables."""
    kfp_api.token, kfp_api.at_once = TOKEN, True
    variables = {
        "ROADWORTHY_KFP_URL": kfp_api.url,
        "ROADWORTHY_KFP_TOKEN": TOKEN,
        "ROADWORTHY_KFP_POLL_SECONDS": "0.05",
        "PIPELINE_IMAGE": IMAGE,
    }
    return kfp_api, Event(variables=variables)


def test_a_merge_ends_in_a_run_of_its_commit(checkout, kubeflow):
    kfp_api, event = kubeflow

    done = run(checkout, "data", event, "data.csv.dvc")

    assert done.returncode == 0, told(done)
    (submitted,) = kfp_api.runs.values()
    assert submitted.display_name == "[data] at [2031-05-06T07:08:09Z]"
    parameters = submitted.runtime_config.parameters
    assert parameters["trigger"] == "data"
    assert parameters["commit"] == git(checkout.project, "rev-parse", "HEAD")
    (version,) = kfp_api.versions.values()
    assert IMAGE in json.dumps(version.to_dict(), default=str)
    assert TOKEN not in told(done)


def test_a_refused_candidate_fails_the_job_with_the_runs_exit_code(checkout, kubeflow):
    kfp_api, event = kubeflow
    kfp_api.ending = "rejected"

    done = run(checkout, "maintenance", event, ".gitlab-ci.yml")

    assert done.returncode != 0
    assert f"The run of fuel ended with exit code {int(ExitCode.GATE)}." in told(done)
    names = {submitted.display_name for submitted in kfp_api.runs.values()}
    assert names == {"[maintenance] at [2031-05-06T07:08:09Z]"}
