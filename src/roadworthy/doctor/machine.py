"""The machine: Python, Git, the clone, its environment, the home, and what tests need."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data import git
from roadworthy.doctor.finding import Finding, missing, ok, warning

SPACE = 500_000_000
"""The bytes that a home needs: for some runs, and the tables of MLflow."""
_MEGABYTE = 1_000_000
_SECONDS = 10
_CONTENT = "git add --all && git commit"


def python(version: str = platform.python_version()) -> Finding:
    """Check that the package supports this Python."""
    from packaging.specifiers import SpecifierSet

    wanted = importlib.metadata.metadata("roadworthy")["Requires-Python"]
    if version in SpecifierSet(wanted):
        return ok("Python", version)
    return missing(
        "Python",
        f"{version}, and the package needs {wanted}",
        "apt-get install python3.11 python3.11-venv && make .venv/.installed",
    )


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
        return warning(
            "author",
            "your commits would have none",
            'git config --global user.name "YOUR NAME" && '
            "git config --global user.email YOU@company.example",
        )
    return ok("author", author.rpartition(">")[0] + ">")


def clone(directory: Path) -> Finding:
    """Check the clone around a directory: its commit, and what is not committed."""
    try:
        found = git.inspect(directory)
    except git.NoCloneError:
        told = f"{directory} is in no Git repository, and a run needs a commit"
        return missing("clone", told, f"git init && {_CONTENT}")
    except git.GitError as error:
        cause = error.__cause__
        if isinstance(cause, CommandError) and "dubious ownership" in cause.output:
            remedy = f"git config --global --add safe.directory {directory}"
            return missing("clone", f"Git does not trust {directory}", remedy)
        return missing("clone", "it has no commit, and a run names one", _CONTENT)
    at = f"{found.root} at {found.commit[:12]}"
    if not found.changes:
        return ok("clone", f"{at}, everything committed")
    names = ", ".join(found.changes[:3]) + (" ..." if len(found.changes) > 3 else "")
    count = len(found.changes)
    told = f"{at}, {count} path{'s' if count > 1 else ''} not committed, so no part of a run: "
    return warning("clone", told + names, _CONTENT)


def environment(directory: Path) -> Finding:
    """Check that the clone's virtual environment equals the lock file."""
    name, remedy = "environment", "make .venv/.installed"
    root = git.inspect_root(directory)
    venv, lock = root / ".venv", root / "requirements" / "dev.txt"
    if not lock.is_file():
        return missing(name, f"{lock} is not there", "git checkout -- requirements")
    if not (venv / "bin" / "python").exists():
        return missing(name, f"{venv} is not there", remedy)
    if not (venv / "bin" / "uv").exists():
        return missing(name, f"{venv} has no uv: its installation was not finished", remedy)
    options = ("--dry-run", "--offline", "--no-deps", "--require-hashes", "--no-config")
    command: list[str | Path] = [venv / "bin" / "uv", "pip", "install", *options]
    done = subprocess.run(
        [*command, "--python", venv / "bin" / "python", "--requirement", lock],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode == 0 and "Would make no changes" in done.stderr:
        return ok(name, f"{venv} equals {lock.relative_to(root)}")
    told = f"{venv} differs from {lock.relative_to(root)}"
    return missing(name, told, f"touch {lock.relative_to(root)} && {remedy}")


def home(settings: Settings, needed: int = SPACE) -> Finding:
    """Check that runs can write, and have the space for it; ``needed`` is in bytes."""
    remedy = "export ROADWORTHY_HOME=DIRECTORY"
    place = _nearest(settings.home)
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return missing("home", f"{settings.home} cannot be written, because of {place}", remedy)
    if odd := settings.odd_signs:
        told = f"{settings.home}: {odd} means something else in an address"
        return missing("home", told, remedy)
    free = shutil.disk_usage(place).free
    told = f"{settings.home}, {free // _MEGABYTE} MB free"
    if free < needed:
        return missing("home", f"{told}, and runs need {needed // _MEGABYTE} MB", remedy)
    return ok("home", told if place == settings.home else f"{told}; the first run makes it")


def chromium() -> Finding:
    """Check that the tests of the page find their browser."""
    found = shutil.which("chromium")
    if found:
        return ok("Chromium", found)
    return warning("Chromium", "only the tests of the page need it", "apt-get install chromium")


def docker() -> Finding:
    """Check that a container engine responds."""
    name, told = "Docker", "only `make image` and its tests need it"
    if not shutil.which("docker"):
        return warning(name, f"{told}, and it is not installed", "apt-get install docker.io")
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (subprocess.SubprocessError, OSError):
        return warning(name, f"{told}, and no engine responds", "systemctl start docker")
    return ok(name, done.stdout.strip())


def _nearest(path: Path) -> Path:
    """Return the path itself, or what would hold it once it is made."""
    return next(place for place in (path, *path.parents) if place.exists() or place == Path("/"))


def is_clone(directory: Path) -> bool:
    """Return whether a directory is in a clone."""
    try:
        git.inspect_root(directory)
    except RoadworthyError:
        return False
    return True
