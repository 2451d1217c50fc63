"""DVC: data and bundles by content, in the remote of the settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import git, s3
from roadworthy.data.git import ELSEWHERE

_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
# DVC's messages where an object is missing, and where it was fetched and then refused.
_MISSING = "Missing cache files"
_DAMAGED = "Checkout failed"
_HASHED_HERE = 1 << 27
"""Up to so many bytes, hashing a file takes less than DVC takes to start."""


class DvcError(RoadworthyError):
    """DVC cannot fetch, add or push."""


def configure(repository: Path, *, remote: str, url: str) -> None:
    """Make a scratch clone use a remote, at another address than its own if one is given.

    What is downloaded is checked against its hash, wherever it comes from.
    """
    # Written directly: DVC itself takes a process for each line.
    address = [f"    url = {_quoted(url)}"] if url else []
    if url.startswith("s3://"):
        address += [f"    connect_timeout = {s3.CONNECT_SECONDS}"]
        address += [f"    read_timeout = {s3.READ_SECONDS}"]
    lines = [
        "[core]",
        "    analytics = false",
        "    autostage = false",
        "    check_update = false",
        f"    remote = {_quoted(remote)}",
        f"['remote \"{remote}\"']",
        *address,
        "    verify = true",
    ]
    file = repository / ".dvc" / "config.local"
    try:
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except FileNotFoundError as error:
        raise DvcError(
            "The commit has no .dvc/config: make it with `dvc init` and commit it."
        ) from error


def content_hash(pointer: Path) -> str:
    """Return the hash of the output of a ``.dvc`` file.

    Raises
    ------
    DvcError
        There is no such file, or it is not a ``.dvc`` file.
    """
    found = str(_output(pointer).get("md5"))
    if not _HASH.fullmatch(found):
        raise _no_pointer(pointer)
    return found


def files(pointer: Path) -> int:
    """Return how many files the output of a ``.dvc`` file holds."""
    return int(_output(pointer).get("nfiles", 1))


@dataclass(frozen=True)
class Difference:
    """How the data in a clone differs from what its ``.dvc`` file names.

    Parameters
    ----------
    told
        What happened, as the rest of a sentence that begins with the data's name.
    remedy
        The command that ends it.
    """

    told: str
    remedy: str


def difference(root: Path, pointer: str) -> Difference | None:
    """Return how the output of a ``.dvc`` file differs from it; None where it does not.

    It was edited, or is still that of another commit, since Git switches the ``.dvc`` file alone.

    Raises
    ------
    DvcError
        There is no such file, or DVC cannot look.
    """
    output = root / pointer.removesuffix(".dvc")
    expected = content_hash(root / pointer)
    edited = Difference("was edited since it was added", f"dvc add {output.relative_to(root)}")
    if not output.exists():
        return None
    if output.is_dir() or output.stat().st_size > _HASHED_HERE:
        return edited if _is_modified(root, pointer) else None
    # A file's hash in DVC is its MD5; DVC itself would take a second to say so.
    with output.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found == expected:
        return None
    commit = git.commit_with(root, pointer, found)
    told = f"is still that of the commit {commit[:12]}"
    return Difference(told, f"dvc checkout {pointer}") if commit else edited


def warnings(root: Path, pointer: str) -> tuple[str, ...]:
    """Return a sentence if the output of a ``.dvc`` file differs from it.

    Raises
    ------
    DvcError
        As :func:`difference`.
    """
    found = difference(root, pointer)
    if found is None:
        return ()
    name = pointer.removesuffix(".dvc")
    return (
        f"{name} {found.told}, and is not part of this: to use it, run `dvc add {name}`, `dvc "
        f"push` and commit {pointer}; to undo it, run `dvc checkout {pointer}`.",
    )


def _is_modified(root: Path, pointer: str) -> bool:
    """Ask DVC, which hashes only what changed since it last looked."""
    try:
        return bool(json.loads(_dvc("status", "--json", pointer, cwd=root)))
    except CommandError as error:
        raise DvcError(
            f"DVC could not compare the data with {pointer}: {_cause(error)}. Fix that and run "
            f"again."
        ) from error


def pull(repository: Path, pointer: str) -> Path:
    """Fetch the output of a ``.dvc`` file and return its path.

    Raises
    ------
    DvcError
        The remote does not have it, or cannot be reached.
    """
    content_hash(repository / pointer)
    try:
        _dvc("pull", pointer, cwd=repository)
    except CommandError as error:
        remedy = (
            f"Push it where it was added, with `dvc push {pointer}`, or check the remote's address "
            f"and credentials"
        )
        raise DvcError(_sentence(f"pull {pointer}", error, remedy)) from error
    return repository / pointer.removesuffix(".dvc")


def add(repository: Path, path: str) -> str:
    """Put a file or directory under DVC and return its ``.dvc`` file."""
    try:
        _dvc("add", path, cwd=repository)
    except CommandError as error:
        raise DvcError(
            f"DVC could not add {path}: {_cause(error)}. Fix that and run again."
        ) from error
    return f"{path}.dvc"


def push(repository: Path, pointer: str) -> None:
    """Send the output of a ``.dvc`` file to the remote.

    Raises
    ------
    DvcError
        The remote cannot be reached or refuses.
    """
    try:
        _dvc("push", pointer, cwd=repository)
    except CommandError as error:
        remedy = (
            "Check the remote's address, its credentials and the space on it, and run again: what "
            "is there is not sent twice"
        )
        raise DvcError(_sentence(f"push {pointer}", error, remedy)) from error


def _output(pointer: Path) -> dict[str, Any]:
    """Return the entry of a ``.dvc`` file for its one output."""
    try:
        output = dict(yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0])
    except FileNotFoundError as error:
        raise DvcError(
            f"{pointer.name} is not in the commit: make it with `dvc add {pointer.stem}` "
            f"and commit it."
        ) from error
    except (yaml.YAMLError, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _no_pointer(pointer) from error
    return output


def _no_pointer(pointer: Path) -> DvcError:
    return DvcError(
        f"{pointer.name} is not a .dvc file with a hash: make it again with "
        f"`dvc add {pointer.stem}` and commit it."
    )


def _dvc(*arguments: str, cwd: Path) -> str:
    environment = {
        **ELSEWHERE,
        # A run on a machine without a network must not wait for a server.
        "DVC_NO_ANALYTICS": "1",
        # DVC's own place for this, outside the clone, keeps an entry of every clone for ever.
        "DVC_SITE_CACHE_DIR": str(cwd / ".dvc" / "tmp" / "site"),
        **{name: os.environ.get(name, value) for name, value in s3.PATIENCE.items()},
    }
    return call([sys.executable, "-m", "dvc", *arguments], cwd=cwd, environment=environment)


def _sentence(asked: str, error: CommandError, remedy: str) -> str:
    """Return what DVC did not do, the cause and the remedy."""
    cause = _cause(error)
    known = s3.trouble(cause)
    if known is not None:
        first, rest = known.remedy[:1].upper(), known.remedy[1:]
        cause, remedy = known.cause, f"{first}{rest}, and run again"
    return f"DVC could not {asked}: {cause}. {remedy}."


def _cause(error: CommandError) -> str:
    """Return why DVC failed. The last two lines of its output are a question and an address."""
    lines = [line.strip() for line in error.output.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if _MISSING in line:
            objects = [name for name in lines[number + 1 :] if name.startswith("md5:")]
            return f"the remote has no undamaged object {', '.join(objects[:3])}"
        if _DAMAGED in line:
            return "the remote's object is damaged: its content has another hash than its name"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines[-1:] or [f"it ended with status {error.status}"])[0].removesuffix(".")


def _quoted(value: str) -> str:
    """Return a value for a DVC configuration file, where ``#`` and ``,`` have a meaning."""
    return f"'{value}'" if '"' in value else f'"{value}"'
