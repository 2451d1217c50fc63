"""What every process of a model server holds, as it tells."""

from __future__ import annotations

from typing import Any

import httpx

_SHOWN = 300
"""How many characters of an answer an error quotes."""


class NotYetError(Exception):
    """The server answers, but is not as it must be."""


def ask(client: httpx.Client, model: str) -> list[dict[str, Any]]:
    """Return what each process that may answer holds of a model.

    Raises
    ------
    NotYetError
        It tells nothing of that.
    httpx.HTTPError
        Nobody answers.
    """
    response = client.get(f"/v2/models/{model}/workers")
    if response.status_code != httpx.codes.OK:
        raise NotYetError(f"it answers {response.status_code}: {response.text[:_SHOWN]}")
    try:
        workers = response.json()["workers"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotYetError(f"it tells no workers: {response.text[:_SHOWN]!r}") from error
    if not workers:
        raise NotYetError("no process of it answers yet")
    return list(workers)


def weights(worker: dict[str, Any]) -> dict[int, int]:
    """Return the percent of the requests that a process gives each version.

    Raises
    ------
    NotYetError
        It tells no split.
    """
    try:
        return {
            int(part["version"]): int(part.get("weight", part.get("share")))
            for part in worker["split"]
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotYetError(f"it tells no split: {str(worker)[:_SHOWN]!r}") from error
