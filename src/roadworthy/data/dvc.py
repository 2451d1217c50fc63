"""DVC: data and bundles by content, in the remote that the settings name."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from roadworthy.commands import CommandError, call
from roadworthy.errors import RoadworthyError


class DvcError(RoadworthyError):
    """DVC cannot give or take what is asked of it."""


def configure(repository: Path, *, remote: str, url: str) -> None:
    """Make a scratch clone use a remote, at another address than its own if one is given."""
    _dvc("config", "--local", "core.remote", remote, cwd=repository)
    if url:
        _dvc("remote", "add", "--local", "--force", remote, url, cwd=repository)


def content_hash(pointer: Path) -> str:
    """Return the hash by which DVC knows the output of a ``.dvc`` file.

    Raises
    ------
    DvcError
        There is no such file, or it is no ``.dvc`` file.
    """
    try:
        outs = yaml.safe_load(pointer.read_text())["outs"]
        return str(outs[0]["md5"])
    except FileNotFoundError as error:
        raise DvcError(
            f"{pointer.name} is not in the commit: make it with `dvc add {pointer.stem}` "
            f"and commit it."
        ) from error
    except (yaml.YAMLError, KeyError, IndexError, TypeError) as error:
        raise DvcError(
            f"{pointer.name} is not a .dvc file with a hash: make it again with "
            f"`dvc add {pointer.stem}` and commit it."
        ) from error


def pull(repository: Path, pointer: str) -> Path:
    """Fetch the output of a ``.dvc`` file and return its path.

    Raises
    ------
    DvcError
        The remote does not have it, or cannot be reached.
    """
    try:
        _dvc("pull", "--quiet", pointer, cwd=repository)
    except CommandError as error:
        raise DvcError(
            f"DVC could not pull {pointer} ({_cause(error)}). Push it where it was added, with "
            f"`dvc push {pointer}`, or check the remote's address and credentials."
        ) from error
    return repository / pointer.removesuffix(".dvc")


def add(repository: Path, path: str) -> str:
    """Put a file or directory under DVC and return its ``.dvc`` file."""
    _dvc("add", "--quiet", path, cwd=repository)
    return f"{path}.dvc"


def push(repository: Path, pointer: str) -> None:
    """Send the output of a ``.dvc`` file to the remote.

    Raises
    ------
    DvcError
        The remote cannot be reached or refuses.
    """
    try:
        _dvc("push", "--quiet", pointer, cwd=repository)
    except CommandError as error:
        raise DvcError(
            f"DVC could not push {pointer} ({_cause(error)}). Check the remote's address, its "
            f"credentials and the space on it, and run again: what is there is not sent twice."
        ) from error


def _dvc(*arguments: str, cwd: Path) -> str:
    # DVC_NO_ANALYTICS: a run on a machine without a network must not wait for a server.
    environment = {"DVC_NO_ANALYTICS": "1"}
    return call([sys.executable, "-m", "dvc", *arguments], cwd=cwd, environment=environment)


def _cause(error: CommandError) -> str:
    lines = [line for line in error.output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR")]
    return (told or lines or [f"status {error.status}"])[-1].removeprefix("ERROR: ")
