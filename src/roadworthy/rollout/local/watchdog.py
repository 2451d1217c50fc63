"""Take the traffic from the version of an abandoned rollout.

A driver that fails removes its version from service. A driver that is killed cannot: then the
command of the server gives all traffic back to the champion. The version stays loaded, so that
``roadworthy rollout resume`` continues at once with the weight in the record.
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
"""The state of such a rollout in the routing file."""
_LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class Watchdog:
    """Looks for abandoned rollouts in the routing files.

    Parameters
    ----------
    settings
        The directory of the routing files, and how long to wait for a dead driver.
    clock
        Returns the time in seconds.
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
            The models of these versions.

        Raises
        ------
        OSError
            A routing file cannot be written.
        """
        directory, now = self._settings.routing, self._clock()
        found = []
        for model in routes.models(directory):
            with suppress(RoutingError):  # which the server logs
                found.append(routes.read(directory, model))
        dead = {(one.model, one.holder) for one in found if _is_unwatched(one)}
        self._dead = {one: self._dead.get(one, now) for one in dead}
        waited = self._settings.abandoned_seconds
        due = [one for one, since in self._dead.items() if now - since >= waited]
        return [model for model, of in due if self._abandon(model, of)]

    def _abandon(self, model: str, of: str) -> bool:
        with changing(self._settings, model):
            now = routes.read(self._settings.routing, model)
            if now.holder != of or not _is_unwatched(now):  # it has another driver
                return False
            after = replace(now, weight=0, shadow=False, state=ABANDONED)
            routes.write(self._settings.routing, after)
        number = now.challenger.version if now.challenger else ""
        log.warning(
            "The driver of version %s of %s is dead (%s): the champion gets all traffic. "
            "`roadworthy rollout resume %s` continues, `roadworthy rollout abort %s` ends it.",
            *(number, model, of, model, model),
        )
        return True


@contextmanager
def watching(settings: Settings) -> Iterator[None]:
    """Check the routing files every second in a thread, as long as the block runs."""
    watchdog, ended = Watchdog(settings), threading.Event()

    def run() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                watchdog.look()
            except (RoadworthyError, OSError) as error:
                log.warning("Abandoned rollouts are not detected: %s", error)

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
