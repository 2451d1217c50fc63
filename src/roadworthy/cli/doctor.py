"""The command ``roadworthy doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from roadworthy.cli.arguments import AsJson
from roadworthy.core.errors import ExitCode
from roadworthy.core.terminal import HERE, print_json
from roadworthy.data.workplace import settings_here

if TYPE_CHECKING:
    from roadworthy.doctor.checks import Told
    from roadworthy.doctor.finding import Finding

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "missing": ("✗", "red")}


def mount(app: typer.Typer) -> None:
    """Add this command to the ``roadworthy`` command."""
    app.command(
        epilog="Examples:  roadworthy doctor    roadworthy doctor --target cluster --json",
        rich_help_panel=HERE,
    )(doctor)


def doctor(
    *,
    target: Annotated[
        Literal["laptop", "cluster", "all"] | None,
        typer.Option(help="What to check.", show_default="what the settings use"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine or a cluster; show what is missing, and the command that fixes it.

    Nothing is changed. The exit status is 0 if nothing is missing that is needed: a warning (!) is
    about what only some need.
    """
    from roadworthy.doctor import parts
    from roadworthy.doctor.checks import examine

    here = Path.cwd()
    shown = Console(highlight=False, quiet=as_json)
    told: list[Told] = []
    for one in examine(parts.chosen(settings_here(here), here, target)):
        if not told or told[-1].part != one.part:
            shown.print(Text(f"{'' if not told else chr(10)}{one.part}", style="bold"))
        show(shown, one.finding)
        told.append(one)
    is_well = not any(one.finding.state == "missing" for one in told)
    if as_json:
        _print_json(told, is_well=is_well)
    else:
        shown.print(_summary(told), soft_wrap=True)
    raise typer.Exit(ExitCode.DONE if is_well else ExitCode.FAILED)


def show(console: Console, found: Finding) -> None:
    """Print a finding, and below it its command in one line, to be copied."""
    mark, style = _MARKS[found.state]
    line = Text.assemble((mark, style), " ", (found.name, "bold"), f": {found.told}")
    console.print(line, soft_wrap=True)
    if found.remedy:
        console.print(Text(f"  → {found.remedy}", style="cyan"), soft_wrap=True)


def _summary(told: list[Told]) -> Text:
    states = [one.finding.state for one in told]
    missing, warnings = states.count("missing"), states.count("warning")
    aside = f"; {warnings} warning{'s' if warnings > 1 else ''}." if warnings else "."
    if missing:
        return Text(f"\n{missing} missing of {len(told)}{aside}", style="red")
    return Text(f"\nNothing is missing{aside}", style="green")


def _print_json(told: list[Told], *, is_well: bool) -> None:
    from dataclasses import asdict

    findings = [{"part": one.part, **asdict(one.finding)} for one in told]
    print_json({"well": is_well, "findings": findings})
