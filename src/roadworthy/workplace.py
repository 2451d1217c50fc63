"""The settings of a command: those of the environment, filled in from the clone one is in."""

from __future__ import annotations

from pathlib import Path

from roadworthy.commands import CommandError
from roadworthy.data import git
from roadworthy.settings import Settings


def settings_here(directory: Path) -> Settings:
    """Return the settings for a command that is given in a directory.

    In a clone, ``home`` is ``.roadworthy`` at its root, wherever in it one is, and the embedded
    DVC remote is the clone's own, also for the scratch clones that a run makes.
    """
    settings = Settings()
    try:
        root = git.inspect_root(directory)
    except (git.GitError, CommandError):
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
