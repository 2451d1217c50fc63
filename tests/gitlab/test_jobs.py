"""The jobs themselves, run in a shell: their scripts, from a checkout to a run on Kubeflow."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.errors import ExitCode
from tests.gitlab.projects import Event, GitLab, git, told

IMAGE = f"registry.example/group/project/roadworthy/pipeline@sha256:{'a1' * 32}"
TOKEN = "a-token-that-nobody-may-see"
VENV = Path(sys.prefix)


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

    Its environment is that of these tests, which is stamped as the job's own.
    """
    build = checkout.build(job)
    (checkout.project / ".venv" / ".installed").write_text(f"{build}\n")
    checkout.commit("Install")
    checkout.settle()
    checkout.change(*changed)
    checkout.commit("Change")
    paths = os.pathsep.join([str(build / "src"), str(build)])
    variables = {"PYTHONPATH": paths} | event.variables
    return checkout.run(job, Event(event.source, variables=variables))


def test_a_compiled_pipeline_that_is_old_fails_its_job(checkout):
    compiled = checkout.project / "pipelines" / "fuel.yaml"
    before = compiled.read_bytes()
    compiled.write_bytes(before.replace(b"Takes fuel", b"Brings fuel"))
    try:
        old = run(checkout, "compiled", Event("merge_request_event"))
    finally:
        compiled.write_bytes(before)
    assert old.returncode != 0
    assert "pipelines/fuel.yaml is not up to date" in told(old)
    assert "Installing" not in told(old)


def test_a_line_that_breaks_the_style_fails_its_job(checkout):
    wrong = checkout.project / "src" / "roadworthy" / "wrong.py"
    wrong.write_text("import os\n")
    variables = {"AWS_SECRET_ACCESS_KEY": TOKEN, "ROADWORTHY_DVC_REMOTE": "s3"}
    try:
        done = run(checkout, "lint", Event("merge_request_event", variables=variables))
    finally:
        wrong.unlink()
    assert done.returncode != 0
    assert re.search(r"wrong\.py:1:8", told(done))
    assert "F401" in told(done)
    assert TOKEN not in told(done)


def test_a_merge_request_gets_the_report_of_its_candidate(checkout, seed, tmp_path):
    variables = {
        "ROADWORTHY_GIT_REMOTE": str(seed / "remote.git"),
        "CI_JOB_TOKEN": TOKEN,
    }

    done = run(checkout, "candidate", Event("merge_request_event", variables=variables))

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


@pytest.mark.parametrize(
    ("trigger", "changed"), [("data", "data.csv.dvc"), ("feature", "src/roadworthy/gate.py")]
)
def test_a_merge_ends_in_a_run_of_its_commit(checkout, kubeflow, trigger, changed):
    kfp_api, event = kubeflow

    done = run(checkout, trigger, event, changed)

    assert done.returncode == 0, told(done)
    (submitted,) = kfp_api.runs.values()
    assert submitted.display_name == f"[{trigger}] at [2031-05-06T07:08:09Z]"
    parameters = submitted.runtime_config.parameters
    assert parameters["trigger"] == trigger
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
    (submitted,) = kfp_api.runs.values()
    assert submitted.display_name == "[maintenance] at [2031-05-06T07:08:09Z]"
