"""The steps of a run on this machine as they go, a line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from roadworthy.tracking.records import Record

_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red")}
_NAME_WIDTH = 9


def follow(console: Console, states: Iterable[Sequence[Record]]) -> list[Record]:
    """Show the steps as they run, a line each, and return their last records.

    On a terminal the running step has a spinner; elsewhere a step's line comes when it has ended.

    Parameters
    ----------
    states
        The records of all steps so far, again and again; see
        :meth:`roadworthy.engines.local.running.Run.watch`.
    """
    records: list[Record] = []
    shown: set[str] = set()
    spinners: dict[str, Spinner] = {}
    with Live(console=console, refresh_per_second=10, transient=True) as live:
        for state in states:
            records = list(state)
            for record in records:
                if record.ended and record.step not in shown:
                    shown.add(record.step)
                    _print(console, record)
            running = [record for record in records if not record.ended]
            lines = Group(*(_spinner(record, spinners) for record in running))
            live.update(lines, refresh=True)
    return records


def _print(console: Console, record: Record) -> None:
    """Print a step's line: cut to the width of a terminal, but whole in a file."""
    if console.is_terminal:
        console.print(_line(record), overflow="ellipsis", no_wrap=True)
    else:
        console.print(_line(record), soft_wrap=True)


def _line(record: Record) -> Text:
    # A gate that says no, and a verification that failed, are done and not well.
    well = record.details.get("passed", record.details.get("good", True))
    mark, style = _MARKS[record.state if well else "failed"]
    told = record.error or record.summary
    return Text.assemble(
        (mark, style),
        f" {record.step:<{_NAME_WIDTH}}",
        (f"{record.seconds:6.1f} s  ", "dim"),
        told.splitlines()[0] if told else "",
    )


def _spinner(record: Record, spinners: dict[str, Spinner]) -> Any:
    spinner = spinners.setdefault(record.step, Spinner("dots"))
    spinner.update(text=Text(f" {record.step:<{_NAME_WIDTH}} {record.summary or 'running'}"))
    return spinner
