"""A clone in which nothing is missing, and what the doctor says of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from roadworthy.core.settings import Settings
from roadworthy.doctor.checks import examine

COMMIT = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost", "commit", "--quiet")


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path_factory):
    """An environment without settings of clusters, buckets and users."""
    ours = ("ROADWORTHY_", "AWS_", "KUBECONFIG", "KUBERNETES_", "MLFLOW_", "GIT_AUTHOR_")
    for name in [*os.environ, "EMAIL"]:
        if name.startswith((*ours, "GIT_COMMITTER_", "EMAIL")):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("nobody")))
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")


def git(*arguments, cwd):
    subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def well(seed, tmp_path_factory) -> Path:
    """A clone in which nothing is missing, but for this environment; to be copied."""
    clone = tmp_path_factory.mktemp("well") / "clone"
    git("clone", "--quiet", seed / "remote.git", clone, cwd=seed)
    (clone / ".gitignore").write_text(".roadworthy/\n.dvc/embedded\n.dvc/tmp\n")
    git("add", "--all", cwd=clone)
    git(*COMMIT, "--message=More", cwd=clone)
    shutil.copytree(seed / "dvc", clone / ".dvc" / "embedded")
    return clone


@pytest.fixture
def clone(well, tmp_path) -> Path:
    place = tmp_path / "clone"
    shutil.copytree(well, place)
    git("config", "user.name", "Tester", cwd=place)
    git("config", "user.email", "tester@cars.example", cwd=place)
    return place


@pytest.fixture
def home(clone) -> Settings:
    """The settings of somebody in the clone."""
    return Settings(home=clone / ".roadworthy", dvc_remote_url=str(clone / ".dvc" / "embedded"))


@pytest.fixture
def looked():
    """Run the checks of a part; return what they found, by name."""

    def look(*parts, seconds=60):
        return {told.finding.name: told.finding for told in examine(parts, seconds)}

    return look
