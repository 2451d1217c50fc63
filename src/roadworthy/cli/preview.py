"""The commands about candidates: ``roadworthy preview``, and ``examine``, its former name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.arguments import named
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.terminal import MODELS, aside, console, print_json, table
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
            previewed = preview.preview(settings, Path.cwd(), model, tell=_tell)
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


def experiment(model: str, *, candidate: str, changes: Sequence[str], as_json: bool) -> None:
    """Try the candidates of this clone, log them to MLflow, and print them side by side."""
    from roadworthy.review import experiment
    from roadworthy.review.comparison import number
    from roadworthy.training.parameters import parse

    found = experiment.experiment(
        *(settings_here(Path.cwd()), Path.cwd(), model),
        candidate=candidate,
        changes=[parse(change) for change in changes],
        tell=_tell,
    )
    if as_json:
        print_json(found.to_dict())
        return
    rows = (
        (
            f"{name} (chosen)" if name == found.name else name,
            ", ".join(f"{key}={value}" for key, value in tried.parameters.items()),
            *(number(tried.metrics.get(metric)) for metric in found.metrics),
        )
        for name, tried in found.candidates.items()
    )
    console.print(table(("candidate", "parameters", *(f">{name}" for name in found.metrics)), rows))
    held_out = ", ".join(f"{name} {number(of)}" for name, of in found.scores.metrics.items())
    for line in (
        f"On the hold-out {found.name} reaches {held_out}.",
        f"The gate: {found.verdict}.",
        f"Logged to the experiment {experiment.experiment_name(model)} of MLflow, which "
        f"`roadworthy ui` shows; nothing is registered or deployed.",
    ):
        console.print(line, markup=False)


def _tell(sentence: str) -> None:
    """Print progress on standard error: the output may go to a file."""
    aside.print(f"  {sentence}", soft_wrap=True, markup=False)


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
