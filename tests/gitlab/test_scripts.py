"""What the jobs' scripts decide: which models a merge concerns, which images are built."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.models import contract
from tests.gitlab.projects import git

COMMIT = "c" * 40
REGISTRY = "registry.example/group/project"
PASSWORD = "a-password-that-nobody-may-see"

# A docker whose registry is a directory, an image a file in it, and that keeps what it was told.
DOCKER = """#!/usr/bin/env bash
set -euo pipefail
echo "docker $*" >>"$FAKE/calls"
file() { echo "$FAKE/registry/${1//\\//_}"; }
case "$1" in
  login) cat >"$FAKE/password" ;;
  push) [ -e "$FAKE/built/$(basename "$(file "${@: -1}")")" ]; echo here >"$(file "${@: -1}")" ;;
  buildx)
    [ -e "$(file "${@: -1}")" ] || { echo "not found" >&2; exit 1; }
    [ -e "$FAKE/no-digests" ] || echo "sha256:$(echo "${@: -1}" | sha256sum | cut -d' ' -f1)" ;;
  *) exit 2 ;;
esac
"""
BUILD = """#!/usr/bin/env bash
set -euo pipefail
echo "build $REGISTRY $*" >>"$FAKE/calls"
for target in pipeline serving; do
  name=$REGISTRY/roadworthy/$target:$1
  echo here >"$FAKE/built/${name//\\//_}"
done
"""


@pytest.fixture(scope="module")
def models(root):
    found = importlib.util.spec_from_file_location("models", root / "deploy/gitlab/models.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def history(tmp_path, monkeypatch) -> tuple[str, str, str]:
    """Three commits: the data of a model changes in the second, that of none in the third."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    commits = []
    for changed in ("README.md", contract.load("fuel").data, "strange.csv.dvc"):
        Path(changed).write_text("changed\n")
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", f"--message={changed}")
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    first, second, third = commits
    return first, second, third


def test_new_data_concerns_the_models_that_are_made_of_it(models, history):
    first, second, third = history
    assert "fuel" in models.concerned("data", first, second)
    assert "fuel" in models.concerned("data", first, third)
    assert models.concerned("data", second, third) == []


@pytest.mark.parametrize("trigger", ["feature", "maintenance"])
def test_every_other_merge_concerns_all_models(models, history, trigger):
    assert models.concerned(trigger, history[1], history[2]) == contract.available()


def test_a_commit_that_is_not_there_is_a_sentence(models, history, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["models.py", "data", history[0], "nonsense"])

    with pytest.raises(SystemExit, match=r"^Error: Git cannot tell what changed .* and nonsense: "):
        models.main()


@pytest.mark.parametrize("before", ["0" * 40, "e" * 40], ids=["first push", "commit that is gone"])
def test_where_the_commit_before_is_not_known_all_are_concerned(models, history, before):
    assert models.concerned("data", before, history[2]) == contract.available()


# A roadworthy that keeps what it was told, and whose runs end with the code that is put there.
ROADWORTHY = """#!/usr/bin/env bash
echo "$*" >>"$FAKE/calls"
exit "$(cat "$FAKE/$2" 2>/dev/null || echo 0)"
"""


class Submitting:
    """The script in a scratch project, with another list of models and a command that keeps it."""

    def __init__(self, root: Path, place: Path) -> None:
        self.root, self.place = root, place
        (place / "deploy" / "gitlab").mkdir(parents=True)
        self.command = place / "roadworthy"
        self.command.write_text(ROADWORTHY)
        self.command.chmod(0o755)

    def run(self, *models: str, **variables: str) -> subprocess.CompletedProcess[str]:
        listed = f"print({' '.join(models)!r}.replace(' ', chr(10)))\n" if models else ""
        (self.place / "deploy" / "gitlab" / "models.py").write_text(listed)
        known = {"CI_COMMIT_SHA": COMMIT, "CI_PIPELINE_CREATED_AT": "2031-05-06T07:08:09Z"}
        path = os.pathsep.join([str(self.place), str(Path(sys.executable).parent), "/usr/bin:/bin"])
        return subprocess.run(
            [self.root / "deploy" / "gitlab" / "submit", "data"],
            cwd=self.place,
            env={"PATH": path, "FAKE": str(self.place), **known, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        file = self.place / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def submitting(root, tmp_path) -> Submitting:
    return Submitting(root, tmp_path)


@pytest.mark.parametrize(
    ("codes", "worst"), [("013", 1), ("31", 1), ("34", 4), ("42", 2), ("00", 0)]
)
def test_every_model_is_submitted_and_the_worst_verdict_is_told(submitting, codes, worst):
    models = [f"model{number}" for number, _ in enumerate(codes)]
    for model, code in zip(models, codes, strict=True):
        (submitting.place / model).write_text(code)

    done = submitting.run(*models, PIPELINE_IMAGE="image@sha256:1")

    assert done.returncode == worst
    assert submitting.calls == [
        f"submit {model} --trigger data --timestamp 2031-05-06T07:08:09Z --commit {COMMIT} "
        f"--image image@sha256:1"
        for model in models
    ]
    assert ("ended with exit code 3." in done.stderr) == ("3" in codes)


def test_data_that_no_model_is_made_of_starts_no_run(submitting):
    done = submitting.run(PIPELINE_IMAGE="image@sha256:1")
    assert done.returncode == 0
    assert done.stdout == "No model is made of the data that changed.\n"
    assert submitting.calls == []


def test_without_an_image_nothing_is_submitted(submitting):
    done = submitting.run("fuel")
    assert done.returncode != 0
    assert "PIPELINE_IMAGE: is not set: the job publish writes it" in done.stderr
    assert submitting.calls == []


class Publishing:
    """The script in a directory with a build and a docker that only keep what they are told."""

    def __init__(self, root: Path, place: Path) -> None:
        self.place = place
        self.fake = place / "fake"
        for directory in ("registry", "built"):
            (self.fake / directory).mkdir(parents=True)
        for name, text in (("fake/docker", DOCKER), ("deploy/image", BUILD)):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)
            (place / name).chmod(0o755)
        self.script = root / "deploy" / "gitlab" / "publish"

    def run(self) -> subprocess.CompletedProcess[str]:
        (self.fake / "calls").write_text("")
        environment = {
            **os.environ,
            "FAKE": str(self.fake),
            "PATH": f"{self.fake}:{os.environ['PATH']}",
            "CI_REGISTRY": "registry.example",
            "CI_REGISTRY_IMAGE": REGISTRY,
            "CI_REGISTRY_USER": "somebody",
            "CI_REGISTRY_PASSWORD": PASSWORD,
            "CI_COMMIT_SHA": COMMIT,
        }
        return subprocess.run(
            [self.script],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return (self.fake / "calls").read_text().splitlines()

    @property
    def written(self) -> dict[str, str]:
        lines = (self.place / "images.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def publishing(root, tmp_path) -> Publishing:
    return Publishing(root, tmp_path)


def test_images_are_built_pushed_and_named_by_digest(publishing):
    done = publishing.run()

    assert done.returncode == 0, done.stderr
    assert publishing.calls.count(f"build {REGISTRY} {COMMIT}") == 1
    assert sum(call.startswith("docker push") for call in publishing.calls) == 2
    assert set(publishing.written) == {"PIPELINE_IMAGE", "SERVING_IMAGE"}
    for target in ("pipeline", "serving"):
        name, _, digest = publishing.written[f"{target.upper()}_IMAGE"].partition("@")
        assert name == f"{REGISTRY}/roadworthy/{target}"
        assert len(digest) == len("sha256:") + 64


def test_images_that_are_there_are_used_again(publishing):
    publishing.run()
    before = publishing.written

    again = publishing.run()

    assert again.returncode == 0, again.stderr
    assert not any(call.startswith(("build", "docker push")) for call in publishing.calls)
    assert publishing.written == before


def test_the_password_is_neither_an_argument_nor_shown(publishing):
    done = publishing.run()
    assert (publishing.fake / "password").read_text() == PASSWORD
    assert PASSWORD not in "".join([done.stdout, done.stderr, *publishing.calls])


def test_a_registry_that_names_no_digest_is_told(publishing):
    (publishing.fake / "no-digests").touch()
    done = publishing.run()
    assert done.returncode != 0
    assert "names no digest of" in done.stderr
    assert not (publishing.place / "images.env").exists()


def test_the_lock_of_what_evaluates_the_jobs_pins_all_and_names_no_registry(root):
    text = (root / "tests" / "gitlab" / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    asked = json.loads((root / "tests" / "gitlab" / "package.json").read_text())["dependencies"]
    assert packages.pop("")["dependencies"] == asked
    assert all(re.fullmatch(r"[0-9.]+", version) for version in asked.values())
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert "://" not in text
