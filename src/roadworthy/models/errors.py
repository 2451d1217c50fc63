"""Where in a model's own code an error was raised."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from roadworthy.models import contract

_OWN = Path(__file__).parent
_ROOT = _OWN.parents[2]  # of the repository: src/roadworthy/models


def described(error: BaseException) -> str:
    """Return the type and message of an error, and where in a model's code it was raised.

    The place is that of the last call in the package of a model, e.g.
    ``src/roadworthy/models/NAME/table.py, line 12, in prepare``. It is left out for an error that
    no model's code has to do with.
    """
    kind = type(error).__name__
    if isinstance(error, SyntaxError):  # it names its place itself
        return f"{kind}: {error}"
    told = f"{kind}: {error}" if str(error) else kind
    packages = tuple(_packages())
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if any(file.is_relative_to(package) for package in packages):
            shown = file.relative_to(_ROOT) if file.is_relative_to(_ROOT) else file
            return f"{told} ({shown}, line {frame.lineno}, in {frame.name})"
    return told


def _packages() -> Iterator[Path]:
    """Yield the directories of all models' packages."""
    for name in contract.available():
        if (_OWN / name).is_dir():
            yield _OWN / name
    for module in contract.installed_modules():
        spec = find_spec(module.partition(".")[0])
        yield from map(Path, (spec and spec.submodule_search_locations) or ())
