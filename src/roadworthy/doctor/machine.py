"""The machine: Git, the clone and the home."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError
from roadworthy.data import git
from roadworthy.doctor.finding import Finding, missing, ok, warning

SPACE = 500_000_000
"""The bytes that a home needs: for some runs, and the tables of MLflow."""
_MEGABYTE = 1_000_000
_COMMIT = "git add --all && git commit"


def git_program() -> Finding:
    """Check that Git is installed."""
    try:
        return ok("git", git.git("--version").removeprefix("git version "))
    except CommandError as error:
        return missing("git", str(error), "apt-get install git")


def clone(directory: Path) -> Finding:
    """Check the clone around a directory: its commit, and what is not committed."""
    try:
        found = git.inspect(directory)
    except git.NoCloneError:
        told = f"{directory} is in no Git repository, and a run needs a commit"
        return missing("clone", told, f"git init && {_COMMIT}")
    except git.GitError as error:
        cause = error.__cause__
        if isinstance(cause, CommandError) and "dubious ownership" in cause.output:
            remedy = f"git config --global --add safe.directory {directory}"
            return missing("clone", f"Git does not trust {directory}", remedy)
        return missing("clone", "it has no commit, and a run names one", _COMMIT)
    at, count = f"{found.root} at {found.commit[:12]}", len(found.changes)
    if not count:
        return ok("clone", f"{at}, everything committed")
    names = ", ".join(found.changes[:3]) + (" ..." if count > 3 else "")
    told = f"{at}, {count} path{'s' if count > 1 else ''} not committed, so no part of a run"
    return warning("clone", f"{told}: {names}", _COMMIT)


def home(settings: Settings, needed: int = SPACE) -> Finding:
    """Check that runs can write, and have the space for it; ``needed`` is in bytes."""
    remedy, told = "export ROADWORTHY_HOME=DIRECTORY", str(settings.home)
    place = next(one for one in (settings.home, *settings.home.parents) if one.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return missing("home", f"{told} cannot be written, because of {place}", remedy)
    if odd := settings.odd_signs:
        return missing("home", f"{told}: {odd} means something else in an address", remedy)
    free = shutil.disk_usage(place).free
    told += f", {free // _MEGABYTE} MB free"
    if free < needed:
        return missing("home", f"{told}, and runs need {needed // _MEGABYTE} MB", remedy)
    return ok("home", told if place == settings.home else f"{told}; the first run makes it")
