"""What is on the road: which version of a model answers, and which one is on trial.

A road is a small JSON file per model in one directory. The rollout writes it, whole or not at all;
the server watches it. It repeats what the registry says in a form that costs a server nothing to
read, and can be written anew from the registry at any time.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from roadworthy.errors import RoadworthyError

VERSION_HEADER = "x-roadworthy-version"
"""Names the version that answered; in a request, the version that is to answer."""


class RoadError(RoadworthyError):
    """The file that says what is on the road cannot be read."""


@dataclass(frozen=True)
class Release:
    """One version on the road.

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
    since: str


@dataclass(frozen=True)
class Road:
    """The versions of one model that a server holds.

    Parameters
    ----------
    model
        The model's name.
    champion
        What answers, or nothing before the first release.
    challenger
        What answers only a request that asks for its version, or nothing.
    """

    model: str
    champion: Release | None = None
    challenger: Release | None = None


def read(directory: Path, model: str) -> Road:
    """Return the model's road; an empty one when nothing was ever released.

    Raises
    ------
    RoadError
        The file is damaged.
    """
    file = directory / f"{model}.json"
    try:
        raw = json.loads(file.read_bytes())
        if raw["model"] != model:
            raise ValueError(f"it is of the model {raw['model']!r}")  # noqa: TRY301
        return Road(model, _release(raw["champion"]), _release(raw["challenger"]))
    except FileNotFoundError:
        return Road(model)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RoadError(
            f"{file} does not say what is on the road ({error!r}). Delete it: "
            f"`roadworthy serve` writes it anew from the registry."
        ) from error


def write(directory: Path, road: Road) -> None:
    """Put a road in place of the one before, for readers in one step."""
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / f".{road.model}.{os.getpid()}.{threading.get_ident()}"
    scratch.write_text(json.dumps(asdict(road), indent=2) + "\n")
    scratch.rename(directory / f"{road.model}.json")


def models(directory: Path) -> list[str]:
    """Return the names of the models that have a road, in alphabetical order."""
    return sorted(file.stem for file in directory.glob("[!.]*.json"))


def _release(raw: dict[str, object] | None) -> Release | None:
    if raw is None:
        return None
    release = Release(**raw)  # type: ignore[arg-type]
    words = (release.bundle, release.digest, release.since)
    if not (isinstance(release.version, int) and all(isinstance(word, str) for word in words)):
        raise TypeError(f"{raw} is not a release")
    return release
