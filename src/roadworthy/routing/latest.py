"""The newest request of each model, published beside the routing files for the server's routes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from roadworthy.core import stored
from roadworthy.models.routes import Latest
from roadworthy.routing.routes import RoutingError, replace_file


def write(directory: Path, model: str, latest: Latest) -> None:
    """Publish the newest request of a model, atomically."""
    replace_file(directory, model, asdict(latest))


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
