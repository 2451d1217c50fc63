"""A container engine with the images of the work tree, built once on a machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker as engine
import filelock
import pytest
from docker.models.containers import Container

BASE = "python:3.11-slim"
# The same work tree is the same commit, so what one process built another one finds.
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "Tester"),
        ("EMAIL", "tester@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),
    )
}


@dataclass(frozen=True)
class Images:
    """The engine, and the images of a commit in it."""

    client: engine.DockerClient
    commit: str
    root: Path
    environment: dict[str, str]

    def push_commit(self, remote: Path) -> None:
        """Make the images' commit known to a Git remote, as that of an image has to be."""
        command = ["git", "push", "--quiet", str(remote), f"{self.commit}:refs/heads/images"]
        subprocess.run(command, cwd=self.root, env=self.environment, check=True)

    @property
    def pipeline(self) -> str:
        return f"roadworthy/pipeline:{self.commit}"

    @property
    def serving(self) -> str:
        return f"roadworthy/serving:{self.commit}"

    def added(self, image: str) -> int:
        """Return how many bytes an image adds to its base."""
        return sum(
            (1 if name == image else -1) * self.client.images.get(name).attrs["Size"]
            for name in (image, BASE)
        )

    @contextmanager
    def building(self) -> Iterator[None]:
        """Let one process at a time build images."""
        with filelock.FileLock(Path(tempfile.gettempdir()) / "roadworthy-images.lock"):
            yield

    @contextmanager
    def started(self, image: str, *arguments: str, **options: Any) -> Iterator[Container]:
        """Start a container; it is removed when the block ends."""
        container = self.client.containers.create(image, list(arguments), **options)
        try:
            container.start()
            yield container
        finally:
            container.remove(force=True)

    def output(self, image: str, *command: str, read_only: bool = True) -> str:
        """Run a command to its end in a container without any right, and return what it says."""
        done = self.client.containers.run(
            image,
            list(command[1:]),
            entrypoint=command[0],
            read_only=read_only,
            cap_drop=["ALL"],
            network_disabled=True,
            remove=True,
        )
        return done.decode()


@pytest.fixture(scope="session")
def docker(requires, root: Path, tmp_path_factory) -> Iterator[Images]:
    """The engine at DOCKER_HOST, in which the images are those of the work tree."""
    requires.variable("DOCKER_HOST", "start an engine and export what `.ci/dockerd start` prints")
    commit, environment = _commit(root, tmp_path_factory.mktemp("objects"))
    client = engine.from_env()
    images = Images(client, commit, root, environment)
    with images.building():
        if not _has(client, images.pipeline) or not _has(client, images.serving):
            for command in ([root / ".ci" / "base-image"], [root / "deploy" / "image", commit]):
                subprocess.run(command, env=environment, check=True)
    yield images
    client.close()


def _commit(root: Path, objects: Path) -> tuple[str, dict[str, str]]:
    """Make a commit of the work tree in a place outside of the repository.

    Returns the commit, and the environment in which Git finds it.
    """
    own = subprocess.check_output(
        ["git", "rev-parse", "--path-format=absolute", "--git-path", "objects"], cwd=root, text=True
    )
    environment = {
        **os.environ,
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": own.strip(),
        "GIT_OBJECT_DIRECTORY": str(objects),
    }

    def git(*arguments: str) -> str:
        return subprocess.check_output(
            ["git", *arguments],
            cwd=root,
            env={**environment, **AUTHOR, "GIT_INDEX_FILE": str(objects / "index")},
            text=True,
        ).strip()

    git("add", "--all")
    return git("commit-tree", "-m", "The work tree", git("write-tree")), environment


def _has(client: engine.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except engine.errors.ImageNotFound:
        return False
    return True
