"""The machine: Python, Git, the clone, its environment, the home, and what tests need."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from packaging.specifiers import SpecifierSet

from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import git
from roadworthy.doctor.finding import Finding, missing, ok, warning

SPACE = 500_000_000
"""The bytes that a home needs: for some runs, and the tables of MLflow."""
_MEGABYTE = 1_000_000
_INSTALL = "make .venv/.installed"
_COMMIT = "git add --all && git commit"


def python(version: str = platform.python_version()) -> Finding:
    """Check that the package supports this Python."""
    wanted = importlib.metadata.metadata("roadworthy")["Requires-Python"]
    if version in SpecifierSet(wanted):
        return ok("Python", version)
    remedy = f"apt-get install python3.11 python3.11-venv && {_INSTALL}"
    return missing("Python", f"{version}, and the package needs {wanted}", remedy)


def git_program() -> Finding:
    """Check that Git is installed."""
    try:
        return ok("git", git.git("--version").removeprefix("git version "))
    except CommandError as error:
        return missing("git", str(error), "apt-get install git")


def identity(directory: Path) -> Finding:
    """Check that the user's commits have an author. A run's own commits have one."""
    try:
        # As the user has it: git.git() commits under the pipeline's own name.
        author = call(
            ["git", "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"], cwd=directory
        )
    except CommandError:
        set_ = "git config --global user."
        remedy = f'{set_}name "YOUR NAME" && {set_}email YOU@company.example'
        return warning("author", "your commits would have none", remedy)
    return ok("author", author.rpartition(">")[0] + ">")


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


def environment(directory: Path) -> Finding:
    """Check that the clone's virtual environment equals the lock file."""
    name, root = "environment", git.inspect_root(directory)
    lock, bin_ = Path("requirements", "dev.txt"), root / ".venv" / "bin"
    for path, remedy in (
        (root / lock, "git checkout -- requirements"),
        (bin_ / "python", _INSTALL),
        (bin_ / "uv", _INSTALL),
    ):
        if not path.exists():
            return missing(name, f"{path} is not there", remedy)
    options = ("--dry-run", "--offline", "--no-deps", "--require-hashes", "--no-config")
    done = subprocess.run(
        [bin_ / "uv", "pip", "install", *options, "--python", bin_ / "python", "-r", lock],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0 and "Would make no changes" in done.stderr:
        return ok(name, f"{bin_.parent} equals {lock}")
    return missing(name, f"{bin_.parent} differs from {lock}", f"touch {lock} && {_INSTALL}")


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


def chromium() -> Finding:
    """Check that the tests of the page find their browser."""
    if found := shutil.which("chromium"):
        return ok("Chromium", found)
    return warning("Chromium", "only the tests of the page need it", "apt-get install chromium")


def docker() -> Finding:
    """Check that a container engine responds."""
    try:
        return ok("Docker", call(["docker", "version", "--format", "{{.Server.Version}}"]))
    except CommandError:
        told = "no engine responds, and only `make image` and its tests need one"
        return warning("Docker", told, "apt-get install docker.io && systemctl start docker")
