"""Arguments and options that several commands have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from roadworthy.core.errors import RoadworthyError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def named(model: str) -> str:
    """Return the name of a model, which becomes part of paths and addresses.

    Raises
    ------
    typer.BadParameter
        It is not a valid name.
    """
    if not _NAME.fullmatch(model):
        raise typer.BadParameter(f"{model!r} is no model's name: `roadworthy models` lists them.")
    return model


Trigger = Literal["data", "feature", "maintenance", "manual"]
ModelName = Annotated[
    str, typer.Argument(help="The model, e.g. fuel.", show_default=False, callback=named)
]
CandidateName = Annotated[
    str,
    typer.Option(
        "--candidate",
        help="Train and register this candidate, whatever would win.",
        show_default="the best",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def known(model: str, candidate: str = "") -> None:
    """Refuse a model or a candidate that is neither installed nor in the clone one is in.

    Raises
    ------
    typer.BadParameter
        There is no such model, or no such candidate of it.
    """
    from roadworthy.models.contract import UnknownModelError, load

    try:
        found = load(model)
    except UnknownModelError as error:
        if _in_clone(model):  # its candidates are known where its code runs
            return
        raise typer.BadParameter(str(error)) from error
    if candidate:
        from roadworthy.training.selection import NoCandidateError
        from roadworthy.training.selection import named as candidate_named

        try:
            candidate_named(found.candidates, candidate)
        except NoCandidateError as error:
            raise typer.BadParameter(str(error)) from error


def _in_clone(model: str) -> bool:
    """Return whether the clone one is in has the model, whatever is installed."""
    from roadworthy.data.git import inspect_root

    try:
        root = inspect_root(Path.cwd())
    except RoadworthyError:
        return False
    return (root / "src" / "roadworthy" / "models" / model / "__init__.py").is_file()
