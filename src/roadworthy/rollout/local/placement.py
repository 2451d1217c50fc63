"""Where the server of this machine finds the bundles of its versions."""

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
    """Copy a bundle to where the server reads it, whole or not at all.

    A copy that is there is kept if it is whole, and replaced if it was damaged.

    Raises
    ------
    BundleError
        The bundle is not, or no more, what its manifest says.
    RolloutError
        There is no space or no right to write.
    """
    target = settings.bundles / staged.digest
    try:
        # One at a time: of two that find a damaged copy, the later would take the earlier's away.
        with filelock.FileLock(settings.home / "bundles.lock"):
            if not _is_whole(target, staged.digest):
                _copy(staged, target)
    except OSError as error:
        raise RolloutError(
            f"The bundle cannot be placed in {settings.bundles} ({error}). "
            f"Check the space and the rights there."
        ) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Release(version, str(bundle.read(target, staged.digest).path), staged.digest, now)


def placed(settings: Settings, version: Version) -> Release:
    """Return the release of a version, its bundle fetched and in its place.

    Raises
    ------
    RoadworthyError
        It was not released, or cannot be fetched.
    """
    # here alone: Git and DVC are imported, and a rollback to what is here does without them
    from roadworthy.rollout.engine.fetching import fetched

    digest = version.tags.get("digest", "")
    with fetched(settings, version.model, version.number, digest) as released:
        return place(settings, released, version.number)


def _is_whole(path: Path, digest: str) -> bool:
    try:
        return bundle.read(path, digest).digest == digest
    except BundleError:
        return False


def _copy(staged: Bundle, target: Path) -> None:
    """Put a copy of a bundle in the target's place, after checking it."""
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
