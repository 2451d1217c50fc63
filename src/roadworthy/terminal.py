"""What a person sees: tables, progress, and numbers in words."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from roadworthy.records import Record

HERE, MODELS, ROAD, KUBEFLOW = (
    "On this machine",
    "Models and where they came from",
    "On the road",
    "On Kubeflow",
)
"""What the commands are listed under."""

_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red")}
_NAME_WIDTH = 9
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def follow(console: Console, states: Iterable[Sequence[Record]]) -> list[Record]:
    """Show the steps as they run, a line each, and return their last records.

    On a terminal the running step has a spinner; elsewhere a step's line comes when it has ended.

    Parameters
    ----------
    states
        The records of all steps so far, again and again; see :meth:`roadworthy.running.Run.watch`.
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
            live.update(Group(*(_spinner(record, spinners) for record in running)))
    return records


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a plain table; a column whose name starts with ``>`` is flush right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(harmless(cell)) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return names and values, one pair a line."""
    made = Table.grid(padding=(0, 2))
    for name, value in pairs:
        made.add_row(Text(harmless(name), style="bold"), Text(harmless(value)))
    return made


def harmless(value: object) -> str:
    """Return a value in words that change nothing of a terminal but what stands there.

    What others named may hold the signs with which a program moves the cursor, writes to the
    clipboard or lets a text run backwards. They become spaces; a new line stays one.
    """
    return "".join(
        " " if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign != "\n" else sign
        for sign in str(value)
    )


def print_json(value: object) -> None:
    """Write a value as JSON to standard output; what JSON does not know is written as a word."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def age(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago a moment was, in its greatest unit: ``3 hours``."""
    span: timedelta = (now or datetime.now(UTC)) - moment
    seconds = max(0, int(span.total_seconds()))
    for unit, length in _UNITS:
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "now"


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
    return spinners.setdefault(
        record.step, Spinner("dots", Text(f" {record.step:<{_NAME_WIDTH}} running"))
    )
