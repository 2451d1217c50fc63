"""Other programs: their exit status is always checked, and told in a sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from roadworthy.errors import RoadworthyError


class CommandError(RoadworthyError):
    """A program ended with an error, or is not there."""

    def __init__(self, message: str, *, output: str = "", status: int = -1) -> None:
        super().__init__(message)
        self.output = output
        self.status = status


def call(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    remedy: str = "",
    stdin: str | None = None,
) -> str:
    """Run a program and return what it printed, without the last line's end.

    Parameters
    ----------
    command
        The program and its arguments.
    environment
        Variables on top of this process's.
    remedy
        What a person may do when it fails: the second sentence of the error.

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
            env={**os.environ, **(environment or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{words[0]} is not installed; install it and run again.") from error
    if done.returncode != 0:
        output = done.stderr.strip() or done.stdout.strip()
        name = " ".join(words[:2]) if not words[1:2] or words[1][0] != "-" else words[0]
        last = output.splitlines()[-1] if output else f"status {done.returncode}"
        raise CommandError(
            f"`{name}` failed: {last}. {remedy}".strip(), output=output, status=done.returncode
        )
    return done.stdout.removesuffix("\n")
