"""Back to an earlier version on a cluster: it is chosen by the registry, and its pods are awaited.

What answers goes on answering until the version that was put back does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tenacity

from roadworthy.bundles import stores
from roadworthy.bundles.bundle import Bundle, BundleError, Golden
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions import targets
from roadworthy.rollout.actions.rollback_choice import former, goal, taken_off
from roadworthy.rollout.actions.steering import fetched
from roadworthy.rollout.engine import finalising, lease
from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError
from roadworthy.rollout.engine.workers import NotYetError
from roadworthy.rollout.kserve.kserve_target import KServeTarget
from roadworthy.tracking.registry import Registry, Version

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class UndoneThere:
    """A rollback that the cluster was told.

    Parameters
    ----------
    version
        The one that was put back.
    golden
        Its golden batch, if its bundle was looked at already.
    """

    settings: Settings
    registry: Registry
    target: KServeTarget
    note: Note
    version: Version
    golden: Golden | None = None

    def wait(self) -> str:
        """Return when the version answers real requests at the model's address.

        That its pods are ready is not enough. The golden batch of its bundle is asked.
        """
        settings, left = self.settings, self.note
        golden = self.golden or _golden(settings, self.version)
        rollout = Rollout(
            *(left.model, left.champion, left.champion, "canary"),
            *(settings.actor, settings.holder, left.at, left.at),
            state="promoted",
        )
        try:
            self._ask(rollout, golden)
        except NotYetError as error:
            why = self.target.standing(left.model).problem or f"{error}."
            raise RolloutError(
                f"Version {left.champion} of {left.model} was put back, but does not answer "
                f"after {settings.ready_seconds:g} s: {why} What answered before goes on "
                f"answering; `roadworthy status {left.model}` tells how it stands."
            ) from error
        return self.target.standing(left.model).url

    def _ask(self, rollout: Rollout, golden: Golden) -> None:
        """Put the golden batch to the version until it is answered well."""
        long = self.settings.ready_seconds

        @tenacity.retry(
            stop=tenacity.stop_after_delay(long),
            wait=tenacity.wait_fixed(min(_POLL_SECONDS, long / 10)),
            retry=tenacity.retry_if_exception_type(NotYetError),
            reraise=True,
        )
        def ask() -> None:
            found = self.target.verify(rollout, golden)
            if not found.good:
                raise NotYetError(found.problem)

        ask()

    def record(self) -> None:
        """Tell the registry."""
        finalising.record(self.settings, self.registry, self.target, self.note)


def roll_back(settings: Settings, model: str, *, to: int, why: str) -> UndoneThere:
    """Have the cluster go back to an earlier version, as :func:`rollback.roll_back` does here.

    Raises
    ------
    RolloutError
        There is no such version to go back to, or the cluster does not take it.
    RoadworthyError
        The registry, or the store of bundles where it is needed, fails.
    """
    registry = Registry.of(settings)
    target = KServeTarget.of(settings, targets.digests(settings, registry))
    finalising.record_found(settings, registry, target, model)
    now = target.standing(model)
    if not now.champion and now.problem:
        raise RolloutError(now.problem)
    challenger = now.challenger or _opened(registry, model, now.champion)
    number = goal(model, now.champion, challenger, to)
    chosen = registry.version(model, number) if number else former(registry, model, now.champion)
    off = taken_off(model, now.champion, challenger, chosen.number)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    left = Note(model, chosen.number, off, settings.actor, at, why)
    digest = targets.digest_of(chosen)
    # What runs has its bundle: the end of a rollout waits for no store.
    golden = _golden(settings, chosen) if chosen.number != now.champion else None
    try:
        target.put_back(left, digest)
    except RolledBackError:  # by somebody else, in the same moment
        raise
    except RolloutError as error:
        raise RolloutError(f"{error} What answered before goes on answering.") from error
    return UndoneThere(settings, registry, target, left, chosen, golden)


@contextmanager
def stored(settings: Settings, version: Version) -> Iterator[Bundle]:
    """Give the bundle of a version, which is complete in the store then.

    Raises
    ------
    StoreError
        The store fails.
    RoadworthyError
        The bundle is neither there nor in the remotes, or it is another one.
    """
    digest = version.tags.get("digest", "")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            kept = stores.fetch(
                settings.bundle_store, version.model, digest, Path(scratch) / "bundle"
            )
        except BundleError:
            with fetched(settings, version) as released:
                if released.digest != digest:
                    raise BundleError(
                        f"The release {version.git_tag} is the bundle {released.digest[:12]}, the "
                        f"registry names {digest[:12]}. Use the registry that made the release."
                    ) from None
                stores.publish(settings.bundle_store, released)
                yield released
        else:
            yield kept


def _golden(settings: Settings, version: Version) -> Golden:
    """Return the golden batch of a version, whose bundle is complete in the store then."""
    with stored(settings, version) as kept:
        return kept.golden


def _opened(registry: Registry, model: str, champion: int) -> int:
    """Return the version that the registry says is being rolled out; 0 if none is.

    A rollout that was killed before its version came on the road is taken back all the same.
    """
    found = lease.read(registry, model)
    going = found is not None and not found.ended and found.version != champion
    return found.version if found is not None and going else 0
