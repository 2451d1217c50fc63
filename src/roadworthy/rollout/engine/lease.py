"""Who drives a rollout. Its state lives in the registry, as a tag of the model: one at a time.

Every write is made only if the tag still is what its owner wrote last. So whoever was taken for
dead and comes back, after a machine slept, finds that it has lost the rollout, and gives the
version no more traffic.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import tenacity

from roadworthy.core import process_id
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import state
from roadworthy.rollout.engine.state import Rollout, RolloutError, State, Strategy, Wish
from roadworthy.tracking.registry import Registry, RegistryError

ROLLOUT, WISH = "rollout", "rollout_wish"
"""The tags of a model."""
_AGAIN_SECONDS = 0.2
_Answer = TypeVar("_Answer")

log = logging.getLogger(__name__)


class TakenError(RolloutError):
    """Another run or command drives the rollout."""


@dataclass
class Lease:
    """The right to drive a rollout. Get one from :func:`begin` or :func:`take_over`.

    Attributes
    ----------
    rollout
        How it stands.
    """

    settings: Settings
    registry: Registry
    rollout: Rollout

    def move(self, to: State, **changes: Any) -> Rollout:
        """Note that the rollout goes to another state, before anything is done about it.

        Raises
        ------
        TakenError
            Another run or command took the rollout over.
        """
        return self.put(self.rollout.moved(to, **changes))

    def put(self, after: Rollout) -> Rollout:
        """Note how the rollout stands. A registry that fails is asked again for a while.

        Raises
        ------
        TakenError
            Another run or command took the rollout over.
        RegistryError
            The registry failed for ``settings.ready_seconds``.
        """
        model, before = self.rollout.model, state.encode(self.rollout)
        after = replace(after, renewed=_now(), mark=_mark())
        if not self._insist(lambda: self._swap(before, state.encode(after))):
            now = read(self.registry, model)
            told = "is gone from the registry" if now is None else f"was taken over: {now}"
            by = f", by {now.owner}" if now is not None else ""
            raise TakenError(
                f"The rollout of version {self.rollout.version} of {model} {told}{by}. "
                f"`roadworthy rollout status {model}` tells how it stands."
            )
        self.rollout = after
        log.info("Rollout: %s", after)
        return after

    def renew(self) -> None:
        """Say that it goes on, if that was not said lately."""
        now = datetime.now(UTC)
        if not state.is_fresh(self.rollout, now, self.settings.lease_seconds / 5):
            self.put(self.rollout)

    def wish(self) -> Wish | None:
        """Return what a person wants of this rollout, and take it as heard.

        Raises
        ------
        RegistryError
            The registry failed for ``settings.ready_seconds``.
        """
        model = self.rollout.model
        wanted = self._insist(lambda: self.registry.model_tags(model).get(WISH, ""))
        if not wanted:
            return None
        self._insist(lambda: self.registry.swap_model_tag(model, WISH, wanted, ""))
        try:
            found = Wish.decode(wanted)
        except RolloutError as error:
            log.warning("%s It is ignored.", error)
            return None
        return found if found is not None and found.version == self.rollout.version else None

    def _swap(self, before: str, after: str) -> bool:
        """Write the rollout once, also when the answer to an earlier attempt was lost."""
        model = self.rollout.model
        if self.registry.swap_model_tag(model, ROLLOUT, before, after):
            return True
        return self.registry.model_tags(model).get(ROLLOUT, "") == after

    def _insist(self, ask: Callable[[], _Answer]) -> _Answer:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(self.settings.ready_seconds),
            wait=tenacity.wait_fixed(_AGAIN_SECONDS),
            retry=tenacity.retry_if_exception_type(RegistryError),
            before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        return retrying(ask)


def read(registry: Registry, model: str) -> Rollout | None:
    """Return the model's rollout, the last one if none is under way; None before the first.

    Raises
    ------
    RolloutError
        The tag is not one of this program.
    """
    told = registry.model_tags(model).get(ROLLOUT, "")
    return state.decode(told) if told else None


def is_alive(settings: Settings, rollout: Rollout) -> bool:
    """Return whether its owner goes on with it.

    A process of this machine is looked at; of another one it is known when it last said so.
    """
    lives = process_id.lives(rollout.holder)
    if lives is not None:
        return lives
    return state.is_fresh(rollout, datetime.now(UTC), settings.lease_seconds)


def begin(
    settings: Settings,
    registry: Registry,
    model: str,
    version: int,
    *,
    champion: int,
    strategy: Strategy,
    owner: str,
    why: str,
) -> Lease:
    """Return the right to drive a new rollout. The one before has to have ended.

    Raises
    ------
    TakenError
        Another one began in the same instant.
    """
    before = registry.model_tags(model).get(ROLLOUT, "")
    now = _now()
    rollout = Rollout(
        *(model, version, champion, strategy, owner, settings.holder, now, now),
        actor=settings.actor,
        why=why,
        mark=_mark(),
    )
    if before and not state.decode(before).ended:
        raise refusal(state.decode(before))
    if not registry.swap_model_tag(model, ROLLOUT, before, state.encode(rollout)):
        raise refusal(read(registry, model) or rollout)
    registry.set_model_tag(model, WISH, "")
    log.info("Rollout: %s", rollout)
    return Lease(settings, registry, rollout)


def take_over(settings: Settings, registry: Registry, rollout: Rollout, owner: str) -> Lease:
    """Return the right to drive a rollout whose owner is dead, or is the same.

    Raises
    ------
    TakenError
        Somebody else was faster.
    """
    lease = Lease(settings, registry, rollout)
    lease.put(replace(rollout, owner=owner, holder=settings.holder))
    return lease


def refusal(first: Rollout) -> TakenError:
    """Return the error of a second rollout, which names the first."""
    host, _, rest = first.holder.partition(":")
    return TakenError(
        f"Version {first.version} of {first.model} is being rolled out already, by {first.owner} "
        f"on {host} (process {rest.partition(':')[0]}) since {first.started}. Wait for it, or "
        f"abort it with `roadworthy rollout abort {first.model}`."
    )


def _mark() -> str:
    return secrets.token_hex(4)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
