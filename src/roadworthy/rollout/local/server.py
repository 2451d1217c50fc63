"""Which model server of this machine serves the routing files of a home directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings

_PATIENCE_SECONDS = 1.0
"""How long a server waits for one that is just ending."""
_GLANCE_SECONDS = 0.2
"""How long a look at the lock waits for another look, which holds it for an instant."""


class AnnouncedError(RoadworthyError):
    """A server serves these routing files already."""


@contextmanager
def announce(home: Path, url: str) -> Iterator[None]:
    """Tell runs in this home that a server is at an address, as long as this process lives.

    Raises
    ------
    AnnouncedError
        Another server told so.
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
    """Return the address of the server of these routing files; nothing if there is none."""
    if "serving_url" in settings.model_fields_set:
        return settings.serving_url
    return announced(settings.home)


def announced(home: Path) -> str:
    """Return the address of the server that serves this home, or nothing."""
    try:
        # The lock tells a server that lives from one that was killed and left its address.
        lock = filelock.FileLock(home / "server.lock", timeout=_GLANCE_SECONDS)
        with lock.acquire(poll_interval=_GLANCE_SECONDS / 10):
            return ""
    except filelock.Timeout:
        return _url(home)
    except FileNotFoundError:  # the home is not there
        return ""


def _url(home: Path) -> str:
    try:
        return (home / "server.url").read_text()
    except FileNotFoundError:  # the server has not yet told
        return ""
