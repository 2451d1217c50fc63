"""The commands about candidates: ``roadworthy preview``, and ``examine``, its former name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.rollout import named
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.terminal import MODELS, aside, print_json
from roadworthy.data.workplace import settings_here

ModelNames = Annotated[
    list[str] | None,
    typer.Argument(help="The models, e.g. fuel; all of them when left out.", show_default=False),
]
Markdown = Annotated[
    Path | None,
    typer.Option(help="Also write the report there, however it ends.", show_default="only printed"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, a list.")]


def mount(app: typer.Typer) -> None:
    """Add these commands to the ``roadworthy`` command."""
    app.command(
        epilog="Examples:  roadworthy preview fuel    roadworthy preview --markdown candidate.md",
        rich_help_panel=MODELS,
    )(preview)
    app.command(epilog="Example:  roadworthy examine fuel", hidden=True)(examine)


def preview(
    models: ModelNames = None, *, markdown: Markdown = None, as_json: AsJson = False
) -> None:
    """Train the candidate of this clone and ask the gate; nothing is released.

    Uncommitted changes are part of the candidate. The report is Markdown for a merge request. The
    exit status is 3 if the gate refuses one of them.
    """
    from roadworthy.models.contract import available
    from roadworthy.review import preview

    for model in models or ():
        named(model)
    settings = settings_here(Path.cwd())
    found, problems, reports = [], [], []
    for model in models or available():
        aside.print(f"Training and evaluating {model} ...", soft_wrap=True, markup=False)
        try:
            previewed = preview.preview(settings, Path.cwd(), model)
        except RoadworthyError as error:
            problems.append(error)
            reports.append(preview.refusal(model, error))
        else:
            found.append(previewed)
            reports.append(previewed.to_markdown())
    report = "\n".join(reports)
    if markdown is not None:
        save(report.encode(), markdown, option="--markdown")
    if as_json:
        print_json([of.to_dict() for of in found])
    else:
        sys.stdout.write(report)
    if problems:
        raise RoadworthyError(" ".join(map(str, problems))) from problems[0]
    raise typer.Exit(max(of.exit_code for of in found))


def examine(
    models: ModelNames = None, *, markdown: Markdown = None, as_json: AsJson = False
) -> None:
    """Former name of ``preview``."""
    aside.print("`roadworthy examine` is deprecated: use `roadworthy preview`.", markup=False)
    preview(models, markdown=markdown, as_json=as_json)


def save(content: bytes, file: Path, *, option: str) -> Path:
    """Write a report to a file and return its absolute path.

    Raises
    ------
    RoadworthyError
        It cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise RoadworthyError(
            f"The report cannot be written to {file} ({error.strerror or error}): name another "
            f"file with {option}."
        ) from error
    return file.resolve()
