"""Ask every process of a model server for its versions and weights."""

from __future__ import annotations

from typing import Any

import httpx

_SHOWN = 300
"""How many characters of an answer an error quotes."""


class NotYetError(Exception):
    """The server does not have the expected state yet."""


def ask(client: httpx.Client, model: str) -> list[dict[str, Any]]:
    """Return the state of a model in each process of a server.

    Raises
    ------
    NotYetError
        The response does not hold it.
    httpx.HTTPError
        The server does not answer.
    """
    response = client.get(f"/v2/models/{model}/workers")
    if response.status_code != httpx.codes.OK:
        raise NotYetError(f"it answers {response.status_code}: {response.text[:_SHOWN]}")
    try:
        workers = response.json()["workers"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotYetError(f"its response has no workers: {response.text[:_SHOWN]!r}") from error
    if not workers:
        raise NotYetError("no process of it answers yet")
    return list(workers)


def weights(worker: dict[str, Any]) -> dict[int, int]:
    """Return the percent of the requests that each version gets in a process.

    Raises
    ------
    NotYetError
        The state has no split.
    """
    try:
        return {
            int(part["version"]): int(part.get("weight", part.get("share")))
            for part in worker["split"]
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotYetError(f"its response has no split: {str(worker)[:_SHOWN]!r}") from error
