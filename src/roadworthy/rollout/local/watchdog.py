"""Takes the traffic from a version whose rollout nobody drives any more.

A driver that fails removes its version from service itself. One that is killed cannot: then the
server's own command, which outlives it, gives all traffic back to the champion. The version stays
loaded, so that ``roadworthy rollout resume`` goes on at once, with the weight that the registry
knows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from roadworthy.core import process_id
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.rollout.local.local_records import changing
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing, RoutingError

ABANDONED = "abandoned"
"""What the routing file says of such a rollout."""
_LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class Watchdog:
    """Looks at the routing files for a rollout whose driver is dead.

    Parameters
    ----------
    settings
        Where the routing files are, and for how long a dead driver is waited for.
    clock
        What time it is, in seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._dead: dict[tuple[str, str], float] = {}

    def look(self) -> list[str]:
        """Take the traffic from each version whose driver is dead for long enough.

        Returns
        -------
        list of str
            The models that this happened to.

        Raises
        ------
        OSError
            A routing file cannot be written.
        """
        directory, now = self._settings.routing, self._clock()
        found = []
        for model in routes.models(directory):
            with suppress(RoutingError):  # of which the server speaks
                found.append(routes.read(directory, model))
        dead = {(one.model, one.holder) for one in found if _is_unwatched(one)}
        self._dead = {one: self._dead.get(one, now) for one in dead}
        waited = self._settings.abandoned_seconds
        due = [one for one, since in self._dead.items() if now - since >= waited]
        return [model for model, of in due if self._abandon(model, of)]

    def _abandon(self, model: str, of: str) -> bool:
        with changing(self._settings, model):
            now = routes.read(self._settings.routing, model)
            if now.holder != of or not _is_unwatched(now):  # it is driven again
                return False
            after = replace(now, weight=0, shadow=False, state=ABANDONED)
            routes.write(self._settings.routing, after)
        number = now.challenger.version if now.challenger else ""
        log.warning(
            "The driver of version %s of %s is dead (%s): the champion gets all traffic. "
            "`roadworthy rollout resume %s` goes on, `roadworthy rollout abort %s` ends it.",
            *(number, model, of, model, model),
        )
        return True


@contextmanager
def watching(settings: Settings) -> Iterator[None]:
    """Look at the routing files again and again while the block runs, in a thread of its own."""
    watchdog, ended = Watchdog(settings), threading.Event()

    def run() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                watchdog.look()
            except (RoadworthyError, OSError) as error:
                log.warning("Rollouts are not watched: %s", error)

    thread = threading.Thread(target=run, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_unwatched(now: Routing) -> bool:
    shared = now.challenger is not None and bool(now.weight or now.shadow)
    return shared and bool(now.holder) and process_id.lives(now.holder) is False
