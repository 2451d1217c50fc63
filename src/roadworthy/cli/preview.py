"""The command about candidates: ``roadworthy examine``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from roadworthy.cli.rollout import named
from roadworthy.cli.workplace import settings_here
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.terminal import MODELS, print_json

_aside = Console(stderr=True, highlight=False)


def mount(app: typer.Typer) -> None:
    """Add this command to the ``roadworthy`` command."""
    app.command(
        epilog="Examples:  roadworthy examine fuel    roadworthy examine --markdown candidate.md",
        rich_help_panel=MODELS,
    )(examine)


def examine(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="The models, e.g. fuel; all of them when left out.", show_default=False
        ),
    ] = None,
    *,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="Also write the report there, however it ends.", show_default="only printed"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a list.")] = False,
) -> None:
    """Train the candidate that this clone makes and ask the gate; nothing is released.

    What is not committed is part of it. The report is Markdown, fit for a merge request. Ends with
    3 if the gate refuses one of them.
    """
    from roadworthy.models.contract import available
    from roadworthy.review import preview

    for model in models or ():
        named(model)
    settings = settings_here(Path.cwd())
    found, problems, reports = [], [], []
    for model in models or available():
        _aside.print(f"Training and examining {model} ...", soft_wrap=True, markup=False)
        try:
            examined = preview.examine(settings, Path.cwd(), model)
        except RoadworthyError as error:
            problems.append(error)
            reports.append(preview.refusal(model, error))
        else:
            found.append(examined)
            reports.append(examined.to_markdown())
    report = "\n".join(reports)
    if markdown is not None:
        preview.write(report, markdown)
    if as_json:
        print_json([of.to_dict() for of in found])
    else:
        sys.stdout.write(report)
    if problems:
        raise RoadworthyError(" ".join(map(str, problems))) from problems[0]
    raise typer.Exit(max(of.exit_code for of in found))
