"""The bundles of the server of this machine."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle, BundleError
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.routing.routes import Release

if TYPE_CHECKING:
    from roadworthy.tracking.registry import Version


def place(settings: Settings, staged: Bundle, version: int) -> Release:
    """Copy a bundle to the server's directory, whole or not at all.

    A copy that is there is kept, or replaced if it is damaged.

    Raises
    ------
    BundleError
        The bundle does not match its manifest.
    RolloutError
        There is no space or no right to write.
    """
    target = settings.bundles / staged.digest
    try:
        # One at a time: of two that replace a damaged copy, one would remove the other's.
        with filelock.FileLock(settings.home / "bundles.lock"):
            if not is_whole(target, staged.digest):
                _copy(staged, target)
    except OSError as error:
        raise RolloutError(
            f"The bundle cannot be placed in {settings.bundles} ({error}). "
            f"Check the space and the rights there."
        ) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Release(version, str(bundle.read(target, staged.digest).path), staged.digest, now)


def placed(settings: Settings, version: Version) -> Release:
    """Return the release of a version, after fetching its bundle.

    Raises
    ------
    RoadworthyError
        It was not released, or cannot be fetched.
    """
    # here: it imports Git and DVC, which a rollback to a bundle of this machine does not need
    from roadworthy.rollout.engine.fetching import fetched

    digest = version.tags.get("digest", "")
    with fetched(settings, version.model, version.number, digest) as released:
        return place(settings, released, version.number)


def is_whole(path: Path | str, digest: str) -> bool:
    """Return whether a directory has the bundle of a digest."""
    try:
        return bundle.read(Path(path), digest).digest == digest
    except BundleError:
        return False


def _copy(staged: Bundle, target: Path) -> None:
    """Copy a bundle, check the copy, and move it to the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix="."))
    try:
        copy = Path(shutil.copytree(staged.path, scratch / "bundle"))
        bundle.read(copy, staged.digest)
        if target.exists():
            target.rename(scratch / "damaged")
        copy.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
