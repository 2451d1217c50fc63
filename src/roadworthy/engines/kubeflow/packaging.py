"""The compiled pipeline of a commit, made by that commit's own code."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from roadworthy.core import subprocesses
from roadworthy.core.settings import Settings
from roadworthy.data import git
from roadworthy.engines.kubeflow.client import KubeflowError
from roadworthy.engines.kubeflow.image import made_for


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Parameters
    ----------
    model, commit, image
        What it is made of.
    content
        Its YAML.
    """

    model: str
    commit: str
    image: str
    content: bytes

    @property
    def version(self) -> str:
        """The name of the pipeline's version."""
        return f"{self.model}-{self.commit}"

    @property
    def digest(self) -> str:
        """The sha256 of its content."""
        return hashlib.sha256(self.content).hexdigest()


def package(settings: Settings, directory: Path, model: str, *, commit: str, image: str) -> Package:
    """Return the compiled pipeline of a commit of the clone around a directory.

    Parameters
    ----------
    commit
        Any Git revision; empty for the one that is checked out.
    image
        The image of the steps, built from that commit; empty for the one of the settings.

    Raises
    ------
    GitError
        The directory is in no clone that has the commit.
    ImageError
        There is no image, or it is not pinned.
    KubeflowError
        The commit has no such model, or its code cannot compile it.
    """
    clone = git.inspect(directory)
    found = _resolved(clone.root, commit) if commit else clone.commit
    chosen = made_for(image or settings.image, found)
    settings.make_home()
    code = git.export(clone.root, found, settings.home / "code")
    if not (code / "src" / "roadworthy" / "models" / model / "__init__.py").is_file():
        raise KubeflowError(
            f"The commit {found[:12]} has no model {model}: check its name, and that it is "
            f"committed."
        )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "package.yaml"
        options = [f"--image={chosen}", f"--output={target}"]
        path = os.pathsep.join([str(code / "src"), str(code)])
        try:
            subprocesses.call(
                [sys.executable, "-m", "pipelines.compiler", *options, model],
                cwd=code,
                environment={"PYTHONPATH": path},
            )
        except subprocesses.CommandError as error:
            raise KubeflowError(
                f"The commit {found[:12]} cannot compile the pipeline of {model} ({error}): "
                f"try `roadworthy compile {model}` there, or submit another commit."
            ) from error
        return Package(model, found, chosen, target.read_bytes())


def _resolved(root: Path, commit: str) -> str:
    try:
        return git.git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", cwd=root)
    except subprocesses.CommandError as error:
        raise git.GitError(
            f"The clone {root} has no commit {commit}: fetch it with `git fetch`, or name another "
            f"with --commit."
        ) from error
