"""Releases: a bundle under DVC, its ``.dvc`` file in a commit, the commit under a tag."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle, Manifest
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git
from roadworthy.data.access import Access


@contextmanager
def source(settings: Settings, commit: str = "") -> Iterator[Path]:
    """Give a scratch clone of the Git remote at a commit, its DVC remote as the settings say."""
    access = Access.of(settings)
    where = {"branch": settings.git_branch, "commit": commit}
    with git.checkout(settings.git_remote, **where, access=access) as path:
        dvc.configure(path, remote=settings.dvc_remote, url=settings.dvc_remote_url)
        yield path


@contextmanager
def fetch(settings: Settings, model: str, tag: str) -> Iterator[Bundle]:
    """Give the bundle of a release from the DVC remote, with every hash checked.

    Raises
    ------
    GitError, DvcError
        A remote does not have it.
    BundleError
        The tag names another one.
    """
    with source(settings, tag) as repository:
        fetched = bundle.read(dvc.pull(repository, _pointer(model)))
        if fetched.digest not in git.tag_message(repository, tag):
            raise bundle.BundleError(
                f"The bundle of {tag} has the digest {fetched.digest[:12]}, which the tag does not "
                f"name. Release it again from commit {fetched.manifest.commit[:12]}."
            )
        yield fetched


def save(settings: Settings, model: str, tag: str, target: Path) -> Bundle:
    """Write the bundle of a release into a new directory, and return it. It is there whole or not.

    Raises
    ------
    GitError, DvcError
        A remote does not have it.
    BundleError
        The tag names another one, or the directory exists.
    """
    if target.exists():
        raise bundle.BundleError(f"{target} exists: name a directory that does not.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        fetch(settings, model, tag) as released,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".pull.") as scratch,
    ):
        made = shutil.copytree(released.path, Path(scratch) / "bundle")
        made.rename(target)
    return bundle.read(target)


@contextmanager
def origin(settings: Settings, made_of: Manifest, pointer: str) -> Iterator[tuple[Path, Path]]:
    """Give a scratch clone of the commit that a release was made from, and its raw data in it.

    Raises
    ------
    GitError, DvcError
        A remote does not have it, or the commit's ``.dvc`` file names other data.
    """
    with source(settings, made_of.commit) as repository:
        if dvc.content_hash(repository / pointer) != made_of.data_hash:
            raise dvc.DvcError(
                f"{pointer} at {made_of.commit[:12]} names other data than the release was made "
                f"of: run this with the code of that commit."
            )
        yield repository, dvc.pull(repository, pointer)


def publish(settings: Settings, released: Bundle, tag: str) -> str:
    """Push a bundle and return the commit of its tag; a released one is not pushed again.

    The objects are in the DVC remote before anything in Git refers to them.

    Raises
    ------
    GitError, DvcError
        A remote refuses, or the tag names another bundle.
    """
    try:
        return _publish(settings, released, tag)
    except git.TagExistsError:
        # Another run may have released the same bundle at the same time.
        return _publish(settings, released, tag)


def _publish(settings: Settings, released: Bundle, tag: str) -> str:
    model = released.manifest.model
    with source(settings) as repository:
        told = git.tag_message(repository, tag)
        if told:
            if released.digest not in told:
                raise git.GitError(
                    f"The tag {tag} of the Git remote names another bundle than version "
                    f"{tag.rpartition('v')[2]} of the registry; nothing was overwritten. Use the "
                    f"registry that made the tag."
                )
            return git.git("rev-parse", f"{tag}^{{commit}}", cwd=repository)
        target = repository / git.RELEASES / model
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(released.path, target)
        pointer = dvc.add(repository, f"{git.RELEASES}/{model}")
        _check_whole(repository / pointer, released)
        dvc.push(repository, pointer)
        message = (
            f"Release {tag}\n\n{released.manifest.candidate} of {released.manifest.commit}\n"
            f"bundle {released.digest}"
        )
        return git.release(
            repository,
            branch=settings.git_branch,
            tag=tag,
            message=message,
            files=[pointer],
            access=Access.of(settings),
        )


def _check_whole(pointer: Path, released: Bundle) -> None:
    expected = len(released.manifest.files) + 1  # and the manifest itself
    found = dvc.files(pointer)
    if found != expected:
        raise dvc.DvcError(
            f"DVC took {found} of the {expected} files of a bundle: remove the pattern that "
            f"excludes the others from .dvcignore, and commit it."
        )


def _pointer(model: str) -> str:
    return f"{git.RELEASES}/{model}.dvc"
