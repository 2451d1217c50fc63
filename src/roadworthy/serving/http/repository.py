"""The model repository extension over routing files.

A model's routing file decides which versions are loaded, in every process of a server, in those
that replace them and on other machines. A request reaches one process, and any client may send it.
So a request to load applies the routing file now, and one to unload removes the versions that the
routing file no longer has; it cannot remove a deployed version.
"""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse

from roadworthy.core.errors import RoadworthyError
from roadworthy.serving.models.model_store import ModelStore, Watcher
from roadworthy.serving.models.rejection import Rejection, unavailable
from roadworthy.serving.models.traffic import find

_INDEX_REMEDY = 'send {"ready": true} for ready versions only, or no body'


class Repository:
    """The repository of a server.

    Parameters
    ----------
    store
        The models.

    Attributes
    ----------
    watcher
        Reads the routing files, where there are any.
    """

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self.watcher: Watcher | None = None

    async def index(self, request: Request) -> JSONResponse:
        """Return ``name``, ``version``, ``state`` and ``reason`` of each deployed version.

        The state is ``READY``, or ``UNAVAILABLE`` with the reason. A model without a version in its
        routing file has one entry with an empty version.
        """
        body = await request.body()
        try:
            document = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise Rejection(400, f"The body is not JSON ({error}): {_INDEX_REMEDY}.") from None
        only_ready = document.get("ready", False) if type(document) is dict else None
        if type(only_ready) is not bool or not {"ready"}.issuperset(document):
            raise Rejection(400, f"The body is not a request for an index: {_INDEX_REMEDY}.")
        entries = [one for name in sorted(self._store.models) for one in self._entries(name)]
        return JSONResponse([one for one in entries if one["state"] == "READY" or not only_ready])

    async def load(self, name: str) -> None:
        """Apply a model's routing file now, and return when its versions are loaded.

        The other processes of a server apply it when they poll.

        Raises
        ------
        Rejection
            404 for a model without a routing file; 503 for a version that is refused, with why.
        """
        await self._refresh(name)
        problems = [one["reason"] for one in self._entries(name) if one["state"] != "READY"]
        if problems:
            raise unavailable(" ".join(problems))

    async def unload(self, name: str) -> None:
        """Apply a model's routing file now, and unload the model if it has no version there.

        Raises
        ------
        Rejection
            404 for a model without a routing file; 409 while a version is deployed.
        """
        await self._refresh(name, forget=True)
        versions = self._store.models[name].versions
        if versions:
            names = " and ".join(sorted(versions, key=int))
            raise Rejection(
                409,
                f"Version {names} of {name} is deployed, so it stays loaded: "
                f"roll it back to remove it.",
            )

    async def _refresh(self, name: str, *, forget: bool = False) -> None:
        if self.watcher is not None:
            try:
                await asyncio.to_thread(self.watcher.refresh, name, forget=forget)
            except (RoadworthyError, OSError) as error:
                raise unavailable(str(error)) from error
        find(self._store, name)

    def _entries(self, name: str) -> list[dict[str, str]]:
        reasons = {
            str(version): f"Version {version} of {name} is refused: {why}"
            for version, why in self._store.refusals(name).items()
        }
        reasons |= dict.fromkeys(self._store.models[name].versions, "")
        if not reasons:
            return [_entry(name, "", f"No version of {name} is deployed.")]
        return [_entry(name, version, reasons[version]) for version in sorted(reasons, key=int)]


def _entry(name: str, version: str, reason: str) -> dict[str, str]:
    state = "UNAVAILABLE" if reason else "READY"
    return {"name": name, "version": version, "state": state, "reason": reason}
