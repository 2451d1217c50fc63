"""Run other programs: the exit status is always checked, and a failure is one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from roadworthy.core.errors import RoadworthyError

_COMPLAINTS = ("fatal:", "error:")


class CommandError(RoadworthyError):
    """A program ended with an error, or cannot be started (then its status is -1)."""

    def __init__(self, message: str, *, output: str = "", status: int = -1) -> None:
        super().__init__(message)
        self.output = output
        self.status = status


def call(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str | None] | None = None,
    remedy: str = "",
    stdin: str | None = None,
) -> str:
    """Run a program and return what it printed, without the last line's end.

    Bytes that are no UTF-8, as in the names of files, come through unchanged when what was printed
    is handed to another program.

    Parameters
    ----------
    command
        The program and its arguments.
    environment
        Variables on top of this process's; None takes one away.
    remedy
        What a user can do when it fails: the second sentence of the error.

    Raises
    ------
    CommandError
        It is not installed, or ended with a status other than 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=_environment(environment or {}),
            input=None if stdin is None else os.fsencode(stdin),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise CommandError(_not_started(words[0], cwd, error)) from error
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
        name = " ".join(words[:2]) if not words[1:2] or words[1][0] != "-" else words[0]
        cause = _cause(output) or _ended(done.returncode)
        raise CommandError(
            f"`{name}` failed: {cause.removesuffix('.')}. {remedy}".strip(),
            output=output,
            status=done.returncode,
        )
    return os.fsdecode(done.stdout.removesuffix(b"\n"))


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    merged: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _not_started(program: str, cwd: Path | None, error: OSError) -> str:
    # A directory that is not there raises the same error as a program that is not there.
    if cwd is not None and not cwd.is_dir():
        return f"{cwd} is not a directory; give one that is there."
    if isinstance(error, FileNotFoundError):
        return f"{program} is not installed; install it and run again."
    return f"{program} cannot be started ({error.strerror or error}); fix that and run again."


def _cause(output: str) -> str:
    """Return the line that names the cause: the first complaint, or what was said last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith(_COMPLAINTS)]
    return (complaints or lines[-1:] or [""])[0]


def _ended(status: int) -> str:
    return f"status {status}" if status > 0 else f"it was stopped by signal {-status}"
