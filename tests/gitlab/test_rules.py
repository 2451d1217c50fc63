"""Which jobs an event in the project starts: the exact set, for each kind of change and event."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Manifest
from roadworthy.core.settings import Settings
from roadworthy.data import git as project_git
from roadworthy.models import contract
from tests.gitlab.projects import Event, git

TRIGGERS = ("data", "feature", "maintenance")
CHECKED = {
    "lint",
    "typing",
    "compiled",
    "tests",
    "notebook",
    "parity",
    "images",
    "candidate",
}
KUBEFLOW = {"ROADWORTHY_KFP_URL": "https://kubeflow.example"}
ONE_OF_EACH = {
    "data": "data.csv.dvc",
    "feature": "src/roadworthy/training/gate.py",
    "maintenance": "deploy/base/role.yaml",
}
MERGE = Event(variables=KUBEFLOW)
EVERY_KIND = tuple(ONE_OF_EACH.values())


def started(trigger: str) -> set[str]:
    return {"publish", trigger}


def test_the_file_keeps_gitlabs_schema(root):
    subprocess.run(
        [
            Path(sys.executable).with_name("check-jsonschema"),
            *("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
            root / ".gitlab-ci.yml",
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize(
    "kinds", [(), TRIGGERS[1:], TRIGGERS], ids=lambda kinds: "+".join(kinds) or "nothing"
)
def test_a_merge_starts_the_first_trigger_that_fits_and_no_other(project, kinds):
    # given a merge commit of a branch that changes something of each kind
    git(project.project, "switch", "--quiet", "--create", "topic")
    project.change("README.md", *(ONE_OF_EACH[kind] for kind in kinds))
    project.commit("Change")
    git(project.project, "switch", "--quiet", "main")
    git(project.project, "merge", "--quiet", "--no-ff", "--message=Merge branch 'topic'", "topic")

    found = project.jobs(MERGE)

    assert set(found) == (started(kinds[0]) if kinds else set())
    assert all(row["when"] == "on_success" for row in found.values())
    if kinds:
        assert found[kinds[0]]["needs"] == "[publish]"


@pytest.mark.parametrize(
    ("path", "trigger"),
    [
        ("data/outliers.csv.dvc", "data"),
        ("src/roadworthy/models/fuel/estimator.py", "feature"),
        ("requirements/pipeline.txt", "feature"),
        (".gitlab-ci.yml", "maintenance"),
        ("deploy/Dockerfile", "maintenance"),
    ],
)
def test_every_path_has_its_trigger(project, path, trigger):
    project.change(path)
    project.commit("Change")
    assert set(project.jobs(MERGE)) == started(trigger)


def test_other_paths_have_none(project):
    project.change(
        "bundles/fuel.dvc",
        ".dvc/config",
        "docs/how-to/cluster.md",
        "notebooks/fuel.ipynb",
        "requirements/dev.txt",
        "tests/test_gate.py",
        "inference-client/app.js",
    )
    project.commit("Change")
    assert set(project.jobs(MERGE)) == set()


@pytest.mark.parametrize(
    ("event", "jobs"),
    [
        (Event("merge_request_event"), CHECKED),
        (Event(branch="topic"), set()),
        (Event(tag="fuel-v3"), set()),
        (Event("schedule"), set()),
        (Event("web"), set()),
        (Event("web", variables={"KUBE_CONTEXT": "group/project:agent"}), {"publish", "deploy"}),
        (Event("web", branch="topic", variables={"KUBE_CONTEXT": "group/project:agent"}), set()),
        (Event(first=True), started("data")),
    ],
    ids=[
        "merge request",
        "push to a branch",
        "tag",
        "schedule",
        "by hand",
        "by hand, with a cluster",
        "by hand on a branch",
        "first push of main",
    ],
)
def test_every_event_has_its_jobs(project, event, jobs):
    # given that everything that could start something has changed
    project.change("README.md", *EVERY_KIND)
    project.commit("Change")

    found = project.jobs(configured(event))

    assert set(found) == jobs
    assert len(set(found) & set(TRIGGERS)) <= 1
    if "deploy" in found:
        assert found["deploy"]["when"] == "manual"
        assert found["deploy"]["needs"] == "[publish]"
        assert found["publish"]["when"] == "on_success"


def test_jobs_that_no_change_starts_need_none(project):
    project.change("README.md")
    project.commit("Change")
    by_hand = Event("web", variables={"KUBE_CONTEXT": "group/project:agent"})

    assert set(project.jobs(configured(Event("merge_request_event")))) == CHECKED
    assert set(project.jobs(configured(by_hand))) == {"publish", "deploy"}


def configured(event: Event) -> Event:
    """Return an event in a project that has a Kubeflow."""
    return dataclasses.replace(event, variables=KUBEFLOW | event.variables)


def test_what_is_put_on_a_cluster_by_hand_has_its_images(project, jobs):
    # given that the pipeline has released: the tip of main is its own commit
    project.change("bundles/fuel.dvc")
    project.commit("Release fuel-v3 [skip ci]")
    by_hand = Event("web", variables=KUBEFLOW | {"KUBE_CONTEXT": "group/project:agent"})
    # when somebody starts a pipeline, then images are made first, and named by digest
    assert set(project.jobs(by_hand)) == {"publish", "deploy"}
    (rendered,) = (line for line in jobs["deploy"]["script"] if "deploy/render" in line)
    done = subprocess.run(
        ["sh", "-euc", rendered.partition(">")[0].replace("deploy/render", "printf '%s\\n'")],
        env={
            "PATH": "/usr/bin:/bin",
            "CI_REGISTRY_IMAGE": "registry.example/group/project",
            "SERVING_IMAGE": "registry.example/group/project/roadworthy/serving@sha256:12",
            "OVERLAY": "production",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["production", "sha256:12"]


def test_a_fork_and_a_project_without_kubeflow_start_nothing(project):
    project.change(*EVERY_KIND)
    project.commit("Change")
    assert set(project.jobs(Event())) == set()
    assert set(project.jobs(Event(variables={"ROADWORTHY_KFP_URL": ""}))) == set()


@pytest.fixture(scope="module")
def release(seed, tmp_path_factory):
    """A Git remote to which the pipeline has released, and the subject of its commit."""
    place = tmp_path_factory.mktemp("release")
    subprocess.run(
        ["git", "clone", "--quiet", "--bare", seed / "remote.git", place / "remote.git"], check=True
    )
    settings = Settings(
        home=place / "home", git_remote=str(place / "remote.git"), dvc_remote_url=str(place / "dvc")
    )
    facts = {"candidate": "any", "parameters": {}, "metrics": {}, "packages": {}}
    made = bundle.write(
        place / "bundle",
        Manifest("fuel", "c" * 40, "d" * 32, request={}, answer={}, **facts),
        {"model.onnx": b"graph"},
    )
    releases.publish(settings, made, "fuel-v3")
    return place / "remote.git"


def test_the_pipelines_own_commit_starts_nothing(project, release):
    subject = git(release, "log", "-1", "--format=%s", "main")
    changed = git(release, "diff", "--name-only", "main~1", "main").splitlines()
    # given a project in which a release was pushed
    project.change(*changed)
    project.commit(subject)

    assert "[skip ci]" in subject  # GitLab itself makes no pipeline then
    assert set(project.jobs(MERGE)) == set()
    # nor does it by the paths alone, nor by the subject alone
    git(project.project, "commit", "--quiet", "--amend", "--message=Another subject")
    assert set(project.jobs(MERGE)) == set()
    project.change(*EVERY_KIND)
    project.commit(subject)
    assert set(project.jobs(MERGE)) == set()


def changes(jobs, job):
    rules = [rule for rule in jobs[job]["rules"] if isinstance(rule, dict)]
    return rules[-1]["changes"]


def test_features_are_what_a_run_calls_new(jobs):
    told = {path.removesuffix("/**/*") for path in changes(jobs, "feature")}
    assert told == set(project_git.SOURCES)


@pytest.mark.parametrize("name", contract.available())
def test_the_data_of_every_model_is_data(jobs, name):
    pointer = Path(contract.load(name).data)
    patterns = changes(jobs, "data")
    assert (str(pointer.parent) == "." and "*.dvc" in patterns) or (
        pointer.parts[0] == "data" and "data/**/*.dvc" in patterns
    )
    assert pointer.suffix == ".dvc"


def test_images_are_pinned(jobs):
    images = {name: value for name, value in jobs["variables"].items() if name.endswith("_IMAGE")}
    used = {
        word
        for job in jobs.values()
        if isinstance(job, dict)
        for word in re.findall(r"\$(\w+_IMAGE)\b", str(job.get("image")) + str(job.get("services")))
    }
    assert used
    assert used <= set(images)
    for image in images.values():
        assert re.search(r":\d+\.\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image), image


SHOWS_ALL = re.compile(r"\bset -\w*x|\bxtrace\b|^\s*-?\s*(env|printenv|export)\s*$", re.MULTILINE)
SHOWS_ONE = re.compile(r"\b(echo|printf)\b[^|]*\$\{?\w*(TOKEN|PASSWORD|SECRET)")


def test_no_job_shows_a_secret_or_hands_one_over_as_an_argument(root):
    scripts = [root / ".gitlab-ci.yml", *sorted((root / "deploy" / "gitlab").iterdir())]
    for file in filter(Path.is_file, scripts):
        text = file.read_text().replace("\\\n", " ").replace("|\n", "| ")
        assert not SHOWS_ALL.search(text), file
        assert not re.search(r"--(token|password)[ =]", text), file
        for line in text.splitlines():
            assert not SHOWS_ONE.search(line) or "| " in line, line


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "ROADWORTHY_KFP_TOKEN": "1",
            "AWS_SECRET_ACCESS_KEY": "1",
            "MLFLOW_TRACKING_PASSWORD": "two\nlines",
        },
    ],
    ids=["none", "some"],
)
def test_jobs_are_kept_from_the_projects_variables(jobs, shell, given):
    (unset,) = jobs[".alone"]["before_script"]
    done = subprocess.run(
        [shell, "-euc", f"{unset}\nenv"],
        env={"PATH": "/usr/bin:/bin", "CI_REGISTRY": "registry.example"} | given,
        check=True,
        capture_output=True,
        text=True,
    )
    assert {"PATH=/usr/bin:/bin", "CI_REGISTRY=registry.example"} <= set(done.stdout.split())
    assert not re.search(r"ROADWORTHY|AWS|MLFLOW", done.stdout)


def test_every_job_of_a_merge_request_is_kept_from_them_but_one(jobs):
    alone = [".alone", "before_script"]
    kept = {name for name in (".python", ".docker") if jobs[name]["before_script"][0] == alone}
    assert kept == {".python", ".docker"}
    assert jobs[".tests"]["before_script"][0] == [".python", "before_script"]
    kept.add(".tests")
    for name in CHECKED - {"candidate"}:
        assert kept & set(jobs[name]["extends"]), name
        assert "before_script" not in jobs[name]
    assert not kept & set(jobs["candidate"]["extends"])
