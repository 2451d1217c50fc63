"""Routing files: the champion and the challenger of a model, and their traffic weights.

A routing file is a small JSON file per model in one directory. The rollout replaces it atomically;
the server watches it. It repeats the registry in a form that a server reads at no cost, and can be
written again from the registry at any time.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from roadworthy.core import stored
from roadworthy.core.errors import RoadworthyError

VERSION_HEADER = "x-roadworthy-version"
"""The version that answered; in a request, the version that must answer."""


class RoutingError(RoadworthyError):
    """A routing file cannot be read."""


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
    """The deployed versions of one model.

    Parameters
    ----------
    model
        The model's name.
    champion
        The version that answers, or None before the first release.
    challenger
        The version in a rollout, or None. It answers requests for its version, and its weight.
    weight
        The challenger's percentage of the requests for no particular version.
    shadow
        Whether the other version also answers requests for no particular version, to compare both.
    state
        The state of the rollout, in one word for people; empty without a rollout.
    previous
        The champion before this one, or None: the version that a rollback deploys.
    holder
        The process that controls the rollout, see :mod:`roadworthy.core.process_id`; empty
        without a rollout.
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
    """Return the routing of a model; an empty one if it never had a routing file.

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
        # A damaged file without a champion would remove the deployed version.
        if "champion" not in json.loads(content):
            raise ValueError("it has no champion")  # noqa: TRY301
    except FileNotFoundError:
        return Routing(model)
    except (ValueError, OSError) as error:
        raise RoutingError(
            f"The routing file {file} is damaged ({error}). Delete it: "
            f"`roadworthy serve` writes it again from the registry."
        ) from error
    return routing


def write(directory: Path, routing: Routing) -> None:
    """Replace a routing file atomically."""
    replace_file(directory, routing.model, asdict(routing))


def replace_file(directory: Path, model: str, content: dict[str, Any]) -> None:
    """Replace the JSON file of a model in a directory atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / f".{model}.{os.getpid()}.{threading.get_ident()}"
    scratch.write_text(json.dumps(content, indent=2) + "\n")
    scratch.rename(directory / f"{model}.json")


def models(directory: Path) -> list[str]:
    """Return the names of the models that have a routing file, in alphabetical order."""
    return sorted(file.stem for file in directory.glob("[!.]*.json"))
