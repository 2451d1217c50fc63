"""The settings of a command: of the environment, with defaults from the current clone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from roadworthy.core.settings import Settings


def settings_here(directory: Path) -> Settings:
    """Return the settings for a command in a directory.

    In a clone, ``home`` is ``.roadworthy`` at its root, and the embedded DVC remote is the clone's
    own, also for the scratch clones of a run.

    Raises
    ------
    SettingsError
        A variable has an invalid value.
    GitError
        The clone belongs to another user.
    """
    # The help of every command imports this module, and pydantic and Git take 0.2 s.
    from pydantic import SecretStr

    from roadworthy.core.environment import from_environment
    from roadworthy.core.settings import Settings
    from roadworthy.core.subprocesses import CommandError
    from roadworthy.data import git

    secret = {name for name, of in Settings.model_fields.items() if of.annotation is SecretStr}
    settings = from_environment(Settings, Settings.model_fields.keys() - secret)
    _check_endpoint()
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
    # The defaults do not count as chosen: running.start checks that of serving_url.
    filled.model_fields_set.intersection_update(chosen)
    return filled


def _check_endpoint() -> None:
    """Check S3's address, which the clients of S3 read from the environment themselves."""
    from roadworthy.core.environment import SettingsError

    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        value = os.environ.get(name, "")
        try:
            address = urlsplit(value)
            well = address.scheme in ("http", "https") and address.hostname
            address.port  # noqa: B018 - whether it is a number is seen when it is asked for
        except ValueError:
            well = False
        if value and not well:
            raise SettingsError(
                f"{name} is not an address that begins with http:// or https://: set it to that of "
                f"your S3, or unset it."
            )
