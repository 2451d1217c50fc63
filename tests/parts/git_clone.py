"""Git without what this machine says of it, and a user's clone of a few files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

_NAME, _EMAIL = "A Person", "person@example.com"


@pytest.fixture
def git_identity(monkeypatch) -> None:
    """Take away what the machine says of Git, and say who commits."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", _NAME)
        monkeypatch.setenv(f"GIT_{role}_EMAIL", _EMAIL)


def make(place: Path, files: Mapping[str, str]) -> Path:
    """Make a repository of files, none of which is committed yet."""
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    _git("init", "--quiet", "--initial-branch=main", cwd=place)
    return place


def commit(place: Path) -> str:
    """Commit everything, by somebody also where nobody is named, and return the commit."""
    _git("add", "--all", cwd=place)
    who = ("-c", f"user.name={_NAME}", "-c", f"user.email={_EMAIL}")
    _git(*who, "commit", "--quiet", "--message=work", cwd=place)
    return _git("rev-parse", "HEAD", cwd=place)


def _git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()
