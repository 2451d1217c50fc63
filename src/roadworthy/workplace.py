"""The settings of a command: those of the environment, filled in from the clone one is in."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from roadworthy.commands import CommandError
from roadworthy.data import git
from roadworthy.errors import RoadworthyError
from roadworthy.settings import Settings


class SettingsError(RoadworthyError):
    """A setting has a value that cannot be used."""


def settings_here(directory: Path) -> Settings:
    """Return the settings for a command that is given in a directory.

    In a clone, ``home`` is ``.roadworthy`` at its root, wherever in it one is, and the embedded
    DVC remote is the clone's own, also for the scratch clones that a run makes.

    Raises
    ------
    SettingsError
        A variable has a value that cannot be used.
    GitError
        The clone belongs to someone else.
    """
    settings = _from_environment()
    try:
        root = git.inspect_root(directory)
    except (git.NoCloneError, CommandError):  # a server may run where there is no Git at all
        return settings
    chosen = settings.model_fields_set
    found: dict[str, object] = {name: getattr(settings, name) for name in chosen}
    if "home" not in chosen:
        found["home"] = root / ".roadworthy"
    if "dvc_remote_url" not in chosen and settings.dvc_remote == "embedded":
        found["dvc_remote_url"] = str(root / ".dvc" / "embedded")
    filled = Settings(**found)  # type: ignore[arg-type]
    # What was found is not what a person chose: running.start asks that of serving_url.
    filled.model_fields_set.intersection_update(chosen)
    return filled


def _from_environment() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        told = "; ".join(
            f"ROADWORTHY_{str(found['loc'][0]).upper()} is {found['input']!r}: {found['msg']}"
            for found in error.errors()
        )
        raise SettingsError(f"{told}. Set it to something else, or unset it.") from error
