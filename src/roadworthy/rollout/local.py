"""The local target: the model server on this machine, which watches the roads."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import filelock
import httpx
import tenacity

from roadworthy import bundle, road
from roadworthy.bundle import Bundle, BundleError
from roadworthy.errors import RoadworthyError
from roadworthy.road import VERSION_HEADER, Release, Road
from roadworthy.rollout.connection import connect
from roadworthy.settings import Settings

_POLL_SECONDS = 0.1


class RolloutError(RoadworthyError):
    """A version does not get on the road."""


def stage(settings: Settings, staged: Bundle, version: int) -> None:
    """Make the server load a version that answers only those who ask for it; wait until it does.

    Raises
    ------
    RolloutError
        It was not loaded within ``settings.ready_seconds``; it is off the road again.
    """
    model = staged.manifest.model
    release = place(settings, staged, version)
    champion = road.read(settings.road, model).champion
    road.write(settings.road, Road(model, champion=champion, challenger=release))
    try:
        _wait(settings, staged, version)
    except RolloutError:
        roll_back(settings, model)
        raise


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


def promote(settings: Settings, model: str, version: int) -> None:
    """Make the challenger the champion.

    Raises
    ------
    RolloutError
        The version is neither.
    """
    now = road.read(settings.road, model)
    if now.challenger is not None and now.challenger.version == version:
        again = now.champion is not None and _same(now.champion, now.challenger)
        champion = now.champion if again else now.challenger
        road.write(settings.road, Road(model, champion=champion))
    elif now.champion is None or now.champion.version != version:
        raise RolloutError(
            f"Version {version} of {model} is not staged, so it cannot be promoted. "
            f"Run `roadworthy run {model}` again."
        )


def roll_back(settings: Settings, model: str) -> None:
    """Take the challenger off; the champion never stopped answering."""
    now = road.read(settings.road, model)
    road.write(settings.road, Road(model, champion=now.champion))


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


def _same(one: Release, other: Release) -> bool:
    return (one.version, one.digest) == (other.version, other.digest)


def _wait(settings: Settings, staged: Bundle, version: int) -> None:
    """Ask for the version until the server tells that it holds just this bundle."""
    model = staged.manifest.model

    @tenacity.retry(
        stop=tenacity.stop_after_delay(settings.ready_seconds),
        wait=tenacity.wait_fixed(_POLL_SECONDS),
        retry=tenacity.retry_if_exception_type((httpx.HTTPError, _NotYetError)),
        reraise=True,
    )
    def ask(client: httpx.Client) -> None:
        response = client.get(f"/v2/models/{model}/card", headers={VERSION_HEADER: str(version)})
        if response.status_code != httpx.codes.OK:
            raise _NotYetError(f"it answers {response.status_code}: {response.text[:300]}")
        held = _digest(response)
        if held != staged.digest:
            raise _NotYetError(f"it holds the bundle {held[:12]}, not {staged.digest[:12]}")

    try:
        with connect(settings.serving_url) as client:
            ask(client)
    except (httpx.HTTPError, httpx.InvalidURL, _NotYetError) as error:
        raise RolloutError(
            f"Version {version} of {model} did not come up at {settings.serving_url} within "
            f"{settings.ready_seconds:g} s ({str(error) or type(error).__name__}). Look at the "
            f"server's log; is it the one that watches {settings.road}?"
        ) from error


class _NotYetError(Exception):
    """The server answers, but does not hold the version."""


def _digest(response: httpx.Response) -> str:
    try:
        return str(response.json()["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise _NotYetError(f"its card says no digest: {response.text[:100]!r}") from error
