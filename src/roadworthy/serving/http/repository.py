"""KServe's repository API over roads: what is there, and look again.

The road says what is loaded, in every process of a server, in the ones that take their place and in
the ones on other machines. A request reaches one process, which forgets it when it ends, and anyone
may send it. So a request to load makes the server look at the road now, and one to unload takes off
what the road no longer has; what the road has, it cannot take off.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from roadworthy.core.errors import RoadworthyError
from roadworthy.serving.models.model_store import Fleet, Watcher
from roadworthy.serving.models.rejection import RETRY_SECONDS, Rejection

_WHAT_INDEX = 'send {"ready": true} for what is ready only, or no body'


class RoadRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """The repository of a server.

    Parameters
    ----------
    model_registry
        KServe's repository of models.
    fleet
        What is held.

    Attributes
    ----------
    watcher
        Looks at the roads, where there are any.
    """

    def __init__(self, model_registry: Any, fleet: Fleet) -> None:
        super().__init__(model_registry)
        self._fleet = fleet
        self.watcher: Watcher | None = None

    @property
    def route(self) -> Route:
        """The route of the index, which KServe has not."""
        return Route("/v2/repository/index", self._index, methods=["POST"])

    async def index(self, filter_ready: bool | None = False) -> list[dict[str, str]]:
        """Return each version on the road: ``name``, ``version``, ``state`` and ``reason``.

        The state is ``READY`` or ``UNAVAILABLE``, and then the reason says why; of a model without
        any version on the road the version is empty.
        """
        entries = [
            entry for name in sorted(self._fleet.held) for entry in _entries(self._fleet, name)
        ]
        return [one for one in entries if one["state"] == "READY" or not filter_ready]

    async def load(self, model_name: str) -> dict[str, Any]:
        """Look at the road of a model now, and return when all that is on it is loaded.

        Of several processes this one looks; the others look as often as they always do.

        Raises
        ------
        Rejection
            404 for a model without a road; 503 for a version that is not loaded, with why.
        """
        await self._look(model_name)
        problems = [
            entry["reason"]
            for entry in _entries(self._fleet, model_name)
            if entry["state"] != "READY"
        ]
        if problems:
            raise Rejection(503, " ".join(problems), headers={"retry-after": RETRY_SECONDS})
        return {"name": model_name, "load": True}

    async def unload(self, model_name: str) -> dict[str, Any]:
        """Look at the road of a model now, and hold no version of it if there is none on it.

        Raises
        ------
        Rejection
            404 for a model without a road; 409 while a version is on the road.
        """
        await self._look(model_name, forget=True)
        held = self._fleet.held[model_name]
        if held.versions:
            names = " and ".join(sorted(held.versions, key=int))
            raise Rejection(
                409,
                f"Version {names} of {model_name} is on the road, which decides what is loaded: "
                f"roll it back to take it off.",
            )
        return {"name": model_name, "unload": True}

    async def _look(self, name: str, *, forget: bool = False) -> None:
        if self.watcher is not None:
            try:
                await asyncio.to_thread(self.watcher.look_at, name, forget=forget)
            except (RoadworthyError, OSError) as error:
                raise Rejection(503, str(error), headers={"retry-after": RETRY_SECONDS}) from error
        if name not in self._fleet.held:
            known = ", ".join(sorted(self._fleet.held)) or "none yet"
            shown = orjson.dumps(name[:100]).decode()
            raise Rejection(404, f"There is no model {shown} here: there is {known}.")

    async def _index(self, request: Request) -> JSONResponse:
        body = await request.body()
        try:
            asked = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise Rejection(400, f"The body is not JSON ({error}): {_WHAT_INDEX}.") from None
        if type(asked) is not dict or not {"ready"}.issuperset(asked):
            raise Rejection(400, f"The body asks for something else: {_WHAT_INDEX}.")
        if type(asked.get("ready", False)) is not bool:
            raise Rejection(400, f"What is ready is true or false: {_WHAT_INDEX}.")
        return JSONResponse(await self.index(asked.get("ready", False)))


def _entries(fleet: Fleet, name: str) -> list[dict[str, str]]:
    ready = dict.fromkeys(fleet.held[name].versions, "")
    refused = {
        str(version): f"Version {version} of {name} is refused: {why}"
        for version, why in fleet.refusals(name).items()
        if str(version) not in ready
    }
    if not ready and not refused:
        return [_entry(name, "", f"No version of {name} is on the road.")]
    both = sorted((ready | refused).items(), key=lambda item: int(item[0]))
    return [_entry(name, version, reason) for version, reason in both]


def _entry(name: str, version: str, reason: str) -> dict[str, str]:
    state = "UNAVAILABLE" if reason else "READY"
    return {"name": name, "version": version, "state": state, "reason": reason}
