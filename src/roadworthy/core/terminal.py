"""What commands print: tables, facts, and ages."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

HERE, MODELS, DEPLOYMENT, KUBEFLOW = (
    "On this machine",
    "Models and where they came from",
    "Deployment",
    "On Kubeflow",
)
"""What the commands are listed under."""

_FILE_WIDTH = 1000


class _Console(Console):
    """Prints commands in backticks as they can be typed here."""

    def print(self, *objects: Any, **named: Any) -> None:
        """Print as rich does."""
        told = (as_typed(one) if isinstance(one, str) else one for one in objects)
        super().print(*told, **named)


console = _Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)
"""Standard output. What a program or a file reads is not cut at the width of a terminal."""
aside = _Console(stderr=True, highlight=False)
"""Standard error."""

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a plain table; a column whose name starts with ``>`` is flush right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(harmless(cell)) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return names and values, one pair a line."""
    made = Table.grid(padding=(0, 2))
    for name, value in pairs:
        made.add_row(Text(harmless(name), style="bold"), Text(harmless(value)))
    return made


def as_typed(text: str) -> str:
    """Return a text whose commands in backticks have the path of ``roadworthy``, off the PATH."""
    called = Path(sys.argv[0])
    if called.name != "roadworthy" or "`roadworthy " not in text:
        return text
    found = shutil.which("roadworthy")
    if found is not None and called.exists() and Path(found).samefile(called):
        return text
    return text.replace("`roadworthy ", f"`{shlex.quote(str(called))} ")


def harmless(value: object) -> str:
    """Return a value as text without characters that control a terminal.

    Names that others chose may contain characters that move the cursor, write to the clipboard or
    reverse the text. They become spaces; a line break stays.
    """
    return "".join(
        " " if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign != "\n" else sign
        for sign in str(value)
    )


def print_json(value: object) -> None:
    """Write a value as JSON to standard output; other types are written as strings."""
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
