"""The newest request of each model, published beside the routing files for the server's routes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from roadworthy.core import stored
from roadworthy.models.routes import Latest
from roadworthy.routing.routes import RoutingError


def write(directory: Path, model: str, latest: Latest) -> None:
    """Publish the newest request of a model, atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / f".{model}.{os.getpid()}"
    scratch.write_text(json.dumps(asdict(latest), indent=2) + "\n")
    scratch.rename(directory / f"{model}.json")


def read(directory: Path, model: str) -> Latest | None:
    """Return the newest request of a model, or None if none was published.

    Raises
    ------
    RoutingError
        The file is damaged.
    """
    file = directory / f"{model}.json"
    try:
        return stored.decode(Latest, file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise RoutingError(
            f"The latest request {file} is damaged ({error}). Ingest new data to publish it again."
        ) from error
