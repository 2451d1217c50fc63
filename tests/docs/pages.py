"""The shell blocks of the documentation, as a user types them.

A comment stands before each block of a page that is written by hand:
``<!-- typed in tests/stories/test_tutorial.py -->`` names the test that takes the block from the
page and types it, ``<!-- not typed: it needs a cluster -->`` says why no test can.
"""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>.+?) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Parameters
    ----------
    page
        The file, relative to the project's root.
    text
        Its lines without the indentation of the block.
    mark
        The comment before it, empty if there is none.
    """

    page: str
    language: str
    text: str
    mark: str

    @property
    def typed_in(self) -> str:
        """The test that types it, empty if none does."""
        return self.mark.removeprefix("typed in ") if self.mark.startswith("typed in ") else ""

    def commands(self) -> Iterator[list[str]]:
        """Yield the arguments of each ``roadworthy`` command in it, one a line."""
        for line in self.text.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:\.venv/bin/)?roadworthy (.*)", line)
            if found:
                words = shlex.shlex(found[1], posix=True, punctuation_chars="|&;")
                words.whitespace_split = True
                yield list(words)


def pages() -> list[str]:
    """Return the README and every page of the documentation."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(file.relative_to(ROOT)) for file in files]


def blocks(page: str) -> list[Block]:
    """Return every block of a page, those of output too."""
    found = _BLOCK.finditer((ROOT / page).read_text())
    return [
        Block(page, one["language"], textwrap.dedent(one["text"]), one["mark"] or "")
        for one in found
    ]


def typed(page: str, test: str) -> list[str]:
    """Return the blocks of a page that a test types, in their order.

    >>> serve, ask, *_ = typed("docs/tutorial.md", __file__)
    """
    name = str(Path(test).relative_to(ROOT))
    return [one.text for one in blocks(page) if one.typed_in == name]


def printed(page: str) -> list[str]:
    """Return the blocks of a page that show what a command prints."""
    return [one.text for one in blocks(page) if not one.language]


def missing(shown: str, output: str) -> list[str]:
    """Return the lines of a page's sample that the output of a command does not have.

    Numbers, hashes and identifiers of runs differ between runs and are not compared. ``...`` stands
    for anything.
    """
    lines = {_normal(line) for line in output.splitlines()}
    return [
        line
        for line in shown.splitlines()
        if line.strip(" .") and not any(re.fullmatch(_pattern(line), one) for one in lines)
    ]


def _normal(line: str) -> str:
    """Return a line with one space between words and without what differs between runs."""
    kept = re.sub(r"\b[0-9a-f]*[0-9][0-9a-f]*\b", "0", line)
    return re.sub(r"\s+", " ", kept).strip()


def _pattern(line: str) -> str:
    return ".*".join(re.escape(_normal(part)) for part in line.split("..."))


def install(clone: Path) -> None:
    """Link this environment into a clone, as ``make`` would have installed it there.

    It is shared with other tests: installing into it from the clone fails.
    """
    environment = clone / ".venv"
    if not environment.exists():
        (environment / "bin").mkdir(parents=True)
        for part in [*Path(sys.prefix).iterdir(), *Path(sys.prefix, "bin").iterdir()]:
            place = environment / part.relative_to(sys.prefix)
            if part.name not in (".installed", "bin", "uv"):
                place.symlink_to(part)
        uv = environment / "bin" / "uv"
        uv.write_text("#!/bin/sh\necho 'This environment belongs to all tests.' >&2\nexit 1\n")
        uv.chmod(0o755)
    # What was pulled since is newer.
    (environment / ".installed").write_text(f"{clone}\n")
