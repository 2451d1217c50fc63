"""The model repository extension over routes: which versions there are, and read a route again.

A model's route says which versions are loaded, in every process of a server, in those that replace
them and on other machines. A request reaches one process, which forgets it when it ends, and anyone
may send it. So a request to load makes the server read the route now, and one to unload removes the
versions that the route no longer has; it cannot remove a version that the route has.
"""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse

from roadworthy.core.errors import RoadworthyError
from roadworthy.serving.models.model_store import Fleet, Watcher
from roadworthy.serving.models.rejection import RETRY_SECONDS, Rejection
from roadworthy.serving.models.traffic import find

_WHAT_INDEX = 'send {"ready": true} for what is ready only, or no body'


class Repository:
    """The repository of a server.

    Parameters
    ----------
    fleet
        The models.

    Attributes
    ----------
    watcher
        Reads the routes, where there are any.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.watcher: Watcher | None = None

    async def index(self, request: Request) -> JSONResponse:
        """Return each version in a route: ``name``, ``version``, ``state`` and ``reason``.

        The state is ``READY``, or ``UNAVAILABLE`` with the reason. A model without a version in its
        route has one entry with an empty version.
        """
        body = await request.body()
        try:
            asked = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise Rejection(400, f"The body is not JSON ({error}): {_WHAT_INDEX}.") from None
        if type(asked) is not dict or not {"ready"}.issuperset(asked):
            raise Rejection(400, f"The body asks for something else: {_WHAT_INDEX}.")
        if type(asked.get("ready", False)) is not bool:
            raise Rejection(400, f"The value of ready is not a boolean: {_WHAT_INDEX}.")
        entries = [
            entry for name in sorted(self._fleet.held) for entry in _entries(self._fleet, name)
        ]
        only_ready = asked.get("ready", False)
        return JSONResponse([one for one in entries if one["state"] == "READY" or not only_ready])

    async def load(self, name: str) -> None:
        """Look at the routing file of a model now, and return when all that is on it is loaded.

        Of several processes this one looks; the others look as often as they always do.

        Raises
        ------
        Rejection
            404 for a model without a routing file; 503 for a version that is not loaded, with why.
        """
        await self._look(name)
        problems = [
            entry["reason"] for entry in _entries(self._fleet, name) if entry["state"] != "READY"
        ]
        if problems:
            raise Rejection(503, " ".join(problems), headers={"retry-after": RETRY_SECONDS})

    async def unload(self, name: str) -> None:
        """Look at a model's routing file now, and hold no version of it if there is none on it.

        Raises
        ------
        Rejection
            404 for a model without a routing file; 409 while a version is deployed.
        """
        await self._look(name, forget=True)
        held = self._fleet.held[name]
        if held.versions:
            names = " and ".join(sorted(held.versions, key=int))
            raise Rejection(
                409,
                f"Version {names} of {name} is deployed, which decides what is loaded: "
                f"roll it back to take it off.",
            )

    async def _look(self, name: str, *, forget: bool = False) -> None:
        if self.watcher is not None:
            try:
                await asyncio.to_thread(self.watcher.look_at, name, forget=forget)
            except (RoadworthyError, OSError) as error:
                raise Rejection(503, str(error), headers={"retry-after": RETRY_SECONDS}) from error
        find(self._fleet, name)


def _entries(fleet: Fleet, name: str) -> list[dict[str, str]]:
    ready = dict.fromkeys(fleet.held[name].versions, "")
    refused = {
        str(version): f"Version {version} of {name} is refused: {why}"
        for version, why in fleet.refusals(name).items()
        if str(version) not in ready
    }
    if not ready and not refused:
        return [_entry(name, "", f"No version of {name} is deployed.")]
    both = sorted((ready | refused).items(), key=lambda item: int(item[0]))
    return [_entry(name, version, reason) for version, reason in both]


def _entry(name: str, version: str, reason: str) -> dict[str, str]:
    state = "UNAVAILABLE" if reason else "READY"
    return {"name": name, "version": version, "state": state, "reason": reason}
