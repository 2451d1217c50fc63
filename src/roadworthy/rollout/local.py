"""The local target: the model server on this machine, which watches the roads."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import httpx
import tenacity

from roadworthy import bundle, road
from roadworthy.bundle import Bundle
from roadworthy.errors import RoadworthyError
from roadworthy.road import Release, Road
from roadworthy.rollout.verification import VERSION_HEADER
from roadworthy.settings import Settings


class RolloutError(RoadworthyError):
    """A version does not get on the road."""


def stage(settings: Settings, staged: Bundle, version: int) -> None:
    """Make the server load a version that answers only those who ask for it; wait until it does.

    Raises
    ------
    RolloutError
        It was not loaded within ``settings.ready_seconds``.
    """
    release = place(settings, staged, version)
    now = road.read(settings.road, staged.manifest.model)
    road.write(settings.road, Road(now.model, champion=now.champion, challenger=release))
    _wait(settings, staged, version)


def place(settings: Settings, staged: Bundle, version: int) -> Release:
    """Copy a bundle to where the server reads it, whole or not at all."""
    target = settings.bundles / staged.digest
    if not target.exists():
        settings.bundles.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=settings.bundles, prefix=".")) / "bundle"
        shutil.copytree(staged.path, scratch)
        try:
            scratch.rename(target)
        except OSError as error:  # another run placed the same in the same moment
            if not target.exists():
                raise RolloutError(
                    f"The bundle cannot be placed in {settings.bundles} ({error.strerror}). "
                    f"Check the space and the rights there."
                ) from error
        finally:
            shutil.rmtree(scratch.parent, ignore_errors=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Release(version, str(bundle.read(target).path), staged.digest, now)


def promote(settings: Settings, model: str, version: int) -> None:
    """Make the challenger the champion.

    Raises
    ------
    RolloutError
        The version is neither.
    """
    now = road.read(settings.road, model)
    if now.challenger is not None and now.challenger.version == version:
        road.write(settings.road, Road(model, champion=now.challenger))
    elif now.champion is None or now.champion.version != version:
        raise RolloutError(
            f"Version {version} of {model} is not staged, so it cannot be promoted. "
            f"Run `roadworthy run {model}` again."
        )


def roll_back(settings: Settings, model: str) -> None:
    """Take the challenger off; the champion never stopped answering."""
    now = road.read(settings.road, model)
    road.write(settings.road, Road(model, champion=now.champion))


def _wait(settings: Settings, staged: Bundle, version: int) -> None:
    """Ask for the version until it answers."""
    address = f"{settings.serving_url}/v1/models/{staged.manifest.model}:predict"
    body = {"instances": staged.golden.requests[:1]}
    headers = {VERSION_HEADER: str(version)}

    @tenacity.retry(
        stop=tenacity.stop_after_delay(settings.ready_seconds),
        wait=tenacity.wait_fixed(0.1),
        retry=tenacity.retry_if_exception_type((httpx.HTTPError, RolloutError)),
        reraise=True,
    )
    def ask() -> None:
        response = httpx.post(address, json=body, headers=headers, timeout=5)
        if response.status_code != httpx.codes.OK:
            raise RolloutError(f"it answers {response.status_code}: {response.text[:300]}")

    try:
        ask()
    except (httpx.HTTPError, RolloutError) as error:
        raise RolloutError(
            f"Version {version} of {staged.manifest.model} did not come up at "
            f"{settings.serving_url} within {settings.ready_seconds:g} s ({error}). Look at the "
            f"server's log; is it the one that watches {settings.road}?"
        ) from error
