"""The settings of a command, whose parts are imported when a command needs them, not for help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roadworthy.core.settings import Settings


def settings_here(directory: Path) -> Settings:
    """Return the settings for a command that is given in a directory.

    Raises
    ------
    SettingsError
        A variable has a value that cannot be used.
    GitError
        The clone belongs to someone else.
    """
    from roadworthy.data import workplace  # pydantic and Git: 0.2 s

    return workplace.settings_here(directory)
