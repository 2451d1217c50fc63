"""Find the model server of a home directory on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings

_PATIENCE_SECONDS = 1.0
"""How long a server waits for another one to end."""
_GLANCE_SECONDS = 0.2
"""How long a test of the lock waits for another test."""


class AnnouncedError(RoadworthyError):
    """Another server serves these routing files."""


@contextmanager
def announce(home: Path, url: str) -> Iterator[None]:
    """Announce the address of a server to runs in a home, as long as the block runs.

    Raises
    ------
    AnnouncedError
        Another server is announced.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(home / "server.lock", timeout=_PATIENCE_SECONDS)
    try:
        with lock:
            scratch = home / ".server.url"
            scratch.write_text(url)
            scratch.rename(home / "server.url")
            yield
    except filelock.Timeout as error:
        raise AnnouncedError(
            f"A server serves {home} already, at {announced(home)}: use it, or stop it first."
        ) from error


def address(settings: Settings) -> str:
    """Return the address of the server of the settings; empty if there is none."""
    if "serving_url" in settings.model_fields_set:
        return settings.serving_url
    return announced(settings.home)


def announced(home: Path) -> str:
    """Return the address of the server of a home; empty if there is none."""
    try:
        # Only a live server holds the lock; a killed one leaves its address.
        lock = filelock.FileLock(home / "server.lock", timeout=_GLANCE_SECONDS)
        with lock.acquire(poll_interval=_GLANCE_SECONDS / 10):
            return ""
    except filelock.Timeout:
        return _url(home)
    except FileNotFoundError:  # there is no home
        return ""


def _url(home: Path) -> str:
    try:
        return (home / "server.url").read_text()
    except FileNotFoundError:  # not written yet
        return ""
