"""Fetch code's commit and data, and find whether there is anything new."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from roadworthy.bundles import releases
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git
from roadworthy.models import contract
from roadworthy.tracking.champion import champion


@dataclass(frozen=True)
class Source:
    """What a run is made of.

    Parameters
    ----------
    commit, data_hash
        Of the code, and of the raw data.
    recipe
        A hash of both that a release does not change.
    champion
        The number of the deployed version, 0 when there is none.
    new
        Whether the champion was made of something else.
    """

    commit: str
    data_hash: str
    recipe: str
    champion: int
    new: bool

    def __str__(self) -> str:
        """Return it for the terminal."""
        against = f"the champion is version {self.champion}" if self.champion else "no champion yet"
        told = against if self.new else f"nothing new since version {self.champion}"
        return f"commit {self.commit[:12]}, data {self.data_hash[:12]}, {told}"


def checkout(settings: Settings, model: str, *, commit: str, force: bool, raw: Path) -> Source:
    """Write the raw data of a commit to a file or directory and return what the run is made of.

    Parameters
    ----------
    commit
        A commit of the Git remote; empty for the tip of its branch.
    force
        Whether to call it new in any case.
    raw
        Where the raw data goes.

    Raises
    ------
    GitError
        The remote does not have the commit, or has other code there than that of the image which
        this runs in: what it makes would not be what the commit says.
    """
    pointer = contract.load(model).data
    with releases.source(settings, commit) as repository:
        found = git.git("rev-parse", "HEAD", cwd=repository)
        _check_code(repository, found, of_image=settings.commit, model=model)
        data_hash = dvc.content_hash(repository / pointer)
        raw.parent.mkdir(parents=True, exist_ok=True)
        pulled = dvc.pull(repository, pointer)
        (shutil.copytree if pulled.is_dir() else shutil.copyfile)(pulled, raw)
        source = compare(settings, model, repository, found, data_hash)
    return replace(source, new=source.new or force)


def compare(
    settings: Settings, model: str, repository: Path, commit: str, data_hash: str
) -> Source:
    """Return what a run of a commit and its data is made of, compared with the champion."""
    recipe = git.fingerprint(repository, commit, data_hash)
    number, made_of = champion(settings, model)
    return Source(commit, data_hash, recipe, number, new=made_of != recipe)


def _check_code(repository: Path, commit: str, *, of_image: str, model: str) -> None:
    if of_image in ("", commit):
        return
    if not git.has_commit(repository, of_image):
        raise git.GitError(
            f"This image was built from commit {of_image[:12]}, which the Git remote does not "
            f"have: push it there, or run the image of a commit that it has."
        )
    if not git.is_same_code(repository, commit, of_image):
        raise git.GitError(
            f"The code of commit {commit[:12]} is not that of this image, which was built from "
            f"{of_image[:12]}: build the commit's image, and say `roadworthy submit {model}` there."
        )
