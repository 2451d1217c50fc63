"""Which version of a model answers, which one is on trial, and how they share the traffic.

A routing file is a small JSON file per model in one directory. The rollout writes it, whole or not
at all; the server watches it. It repeats what the registry says in a form that costs a server
nothing to read, and can be written anew from the registry at any time.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from roadworthy.core import stored
from roadworthy.core.errors import RoadworthyError

VERSION_HEADER = "x-roadworthy-version"
"""Names the version that answered; in a request, the version that is to answer."""


class RoutingError(RoadworthyError):
    """The file that says what is deployed cannot be read."""


@dataclass(frozen=True)
class Release:
    """One version that is deployed.

    Parameters
    ----------
    version
        The version's number in the registry.
    bundle
        The directory of its bundle.
    digest
        The digest of its bundle.
    since
        When it was released, as an ISO 8601 date and time with its offset.
    """

    version: int
    bundle: str
    digest: str
    since: str = ""


@dataclass(frozen=True)
class Routing:
    """The versions of one model that a server holds.

    Parameters
    ----------
    model
        The model's name.
    champion
        What answers, or nothing before the first release.
    challenger
        What is on trial, or nothing. It answers who asks for its version, and its weight.
    weight
        How many of a hundred requests that ask for no version the challenger answers.
    shadow
        Whether a request that asks for no version is also put to the version that did not answer
        it, so that the two can be compared.
    state
        What the rollout does now, in one word for people; empty while there is none.
    previous
        The champion before this one, or nothing: what a rollback deploys again.
    holder
        The process that drives the rollout, see :mod:`roadworthy.core.process_id`; empty while
        there is none.
    """

    model: str
    champion: Release | None = None
    challenger: Release | None = None
    weight: Annotated[int, Field(ge=0, le=100), stored.formerly("weight", "share")] = 0
    shadow: bool = False
    state: str = ""
    previous: Release | None = None
    holder: str = ""


def read(directory: Path, model: str) -> Routing:
    """Return the model's routing file; an empty one when nothing was ever released.

    Raises
    ------
    RoutingError
        The file is damaged.
    """
    file = directory / f"{model}.json"
    try:
        content = file.read_bytes()
        routing = stored.decode(Routing, content)
        if routing.model != model:
            raise ValueError(f"it is of the model {routing.model!r}")  # noqa: TRY301
        # Without its champion a damaged file would remove what is deployed.
        if "champion" not in json.loads(content):
            raise ValueError("it has no champion")  # noqa: TRY301
    except FileNotFoundError:
        return Routing(model)
    except (ValueError, OSError) as error:
        raise RoutingError(
            f"{file} does not say what is deployed ({error}). Delete it: "
            f"`roadworthy serve` writes it anew from the registry."
        ) from error
    return routing


def write(directory: Path, routing: Routing) -> None:
    """Put a routing file in place of the one before, for readers in one step."""
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / f".{routing.model}.{os.getpid()}.{threading.get_ident()}"
    scratch.write_text(json.dumps(asdict(routing), indent=2) + "\n")
    scratch.rename(directory / f"{routing.model}.json")


def models(directory: Path) -> list[str]:
    """Return the names of the models that have a routing file, in alphabetical order."""
    return sorted(file.stem for file in directory.glob("[!.]*.json"))
