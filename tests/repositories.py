"""Real Git repositories and a real DVC remote, untouched by the choices of who runs the tests."""

import subprocess
from pathlib import Path

import pytest

from roadworthy.bundles.bundle import Bundle, Manifest, write
from roadworthy.core.settings import Settings
from roadworthy.data import git

__all__ = (
    "bare",
    "configured",
    "hook",
    "make_bundle",
    "own_identity",
    "person",
    "publish",
    "settings",
)
"""The fixtures of each folder that needs repositories."""

FILES = {
    "src/model.py": "A = 1\n",
    "components/train.py": "B = 1\n",
    "pipelines/fuel.yaml": "c: 1\n",
    "requirements/pipeline.txt": "numpy==2\n",
    "README.md": "read me\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvc/config": "[core]\n    analytics = false\n    remote = embedded\n"
    "['remote \"embedded\"']\n    url = embedded\n",
}


class Repository:
    """A clone that a person works in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        for name, content in files.items():
            self.put(name, content)

    def put(self, name: str, content: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(content)

    def commit(self, message: str = "work", *options: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, *options)
        return self.git("rev-parse", "HEAD")

    def files(self, commit: str = "HEAD") -> dict[str, str]:
        """Return the content of every file of a commit."""
        names = self.git("ls-tree", "-r", "--name-only", "-z", commit).split("\0")
        return {name: self.git("show", f"{commit}:{name}") for name in names if name}

    def snapshot(self) -> dict[str, bytes]:
        """Return every byte of the clone, what Git keeps among them."""
        return {
            str(file.relative_to(self.root)): file.read_bytes()
            for file in sorted(self.root.rglob("*"))
            if file.is_file()
        }


@pytest.fixture(autouse=True)
def own_identity(git_identity) -> None:
    """Every test here runs Git."""


def make(root: Path) -> Repository:
    root.mkdir(parents=True)
    made = Repository(root)
    made.git("init", "--quiet", "--initial-branch=main")
    for name, content in FILES.items():
        made.put(name, content)
    made.commit("first")
    return made


@pytest.fixture
def person(tmp_path) -> Repository:
    return make(tmp_path / "person")


@pytest.fixture
def bare(tmp_path) -> Repository:
    """The embedded remote: not there before it is published to."""
    return Repository(tmp_path / "home" / "remote.git")


@pytest.fixture
def publish(person, bare):
    """Publish a clone, the person's unless told otherwise."""

    def published(root: Path = person.root, branch: str = "main") -> None:
        git.publish(git.inspect(root), bare.root, branch)

    return published


@pytest.fixture
def settings(tmp_path, bare) -> Settings:
    return Settings(
        home=tmp_path / "home", git_remote=str(bare.root), dvc_remote_url=str(tmp_path / "store")
    )


@pytest.fixture
def make_bundle(tmp_path):
    def made(name: str = "one", model: str = "fuel") -> Bundle:
        manifest = Manifest(model, "ab" * 20, "cd" * 16, "plain", {"c": 1}, {"r2": 0.9}, {}, {}, {})
        files = {"model.onnx": name.encode(), "figures/parity.png": b"\x89PNG" + name.encode()}
        return write(tmp_path / "bundles" / name, manifest, files)

    return made


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Give the person a global Git configuration."""

    def configure(text: str) -> None:
        file = tmp_path / "gitconfig"
        file.write_text(text)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))

    return configure


@pytest.fixture
def hook(tmp_path):
    """Install a hook in a repository or a directory of hooks."""

    def installed(directory: Path, name: str, script: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)

    return installed
