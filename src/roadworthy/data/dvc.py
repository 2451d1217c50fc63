"""DVC: data and bundles by content, in the remote of the settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import s3
from roadworthy.data.git import ELSEWHERE

_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
# DVC's messages where an object is missing, and where it was fetched and then refused.
_MISSING = "Missing cache files"
_DAMAGED = "Checkout failed"


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


def is_edited(root: Path, pointer: str) -> bool:
    """Return whether the output of a ``.dvc`` file is there with another content than was added.

    Raises
    ------
    DvcError
        There is no such file, or DVC cannot look.
    """
    expected, output = content_hash(root / pointer), root / pointer.removesuffix(".dvc")
    if output.is_file():
        # A file's hash in DVC is its MD5; DVC itself would take a second to say so.
        with output.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest() != expected
    if not output.exists():
        return False
    try:
        return bool(json.loads(_dvc("status", "--json", pointer, cwd=root)))
    except CommandError as error:
        raise DvcError(
            f"DVC could not compare {output.name} with {pointer}: {_cause(error)}. Fix that and "
            f"run again."
        ) from error


def warnings(root: Path, pointer: str) -> tuple[str, ...]:
    """Return a sentence if the output of a ``.dvc`` file was edited and not added again.

    Raises
    ------
    DvcError
        As :func:`is_edited`.
    """
    name = pointer.removesuffix(".dvc")
    if not is_edited(root, pointer):
        return ()
    return (
        f"{name} was edited since it was added, and the edit is not part of this: run `dvc add "
        f"{name}`, `dvc push` and commit {pointer}, or undo it with `dvc checkout {pointer}`.",
    )


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
