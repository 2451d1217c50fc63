"""Every command in a page that can run here runs in a test."""

import re
from typing import Any

import click
import pytest
from typer.main import get_command

from roadworthy.cli import main
from tests.docs.pages import ROOT, Block, blocks, missing, pages

GENERATED = {
    f"docs/reference/{name}.md" for name in ("commands", "exit-codes", "server-options", "settings")
}
"""Pages made from the code: their examples are parsed, and each command has tests of its own."""
EVERY = [block for page in pages() for block in blocks(page) if block.language in ("sh", "bash")]
MINE = [block for block in EVERY if block.page not in GENERATED]


def named(block: Block) -> str:
    return f"{block.page}: {block.text.splitlines()[0]}"


@pytest.mark.parametrize("block", MINE, ids=named)
def test_a_block_is_typed_by_a_test_or_says_why_not(block):
    assert re.match(r"typed in \S+$|not typed: \w+", block.mark), (
        f"Write <!-- typed in TEST --> or <!-- not typed: REASON --> before it: {block.text}"
    )
    if not block.typed_in:
        return
    test = (ROOT / block.typed_in).read_text()
    if block.typed_in.endswith(".py"):
        assert f'typed("{block.page}"' in test
    else:
        for command in re.findall(r"^make .+?(?=  |$)", block.text, re.MULTILINE):
            assert command in test


@pytest.mark.parametrize("block", [one for one in EVERY if list(one.commands())], ids=named)
def test_a_command_of_a_page_exists_with_its_options(block):
    group = get_command(main.app)
    for words in block.commands():
        command, arguments = leaf(group, one_command(words))
        command.make_parser(click.Context(command)).parse_args(arguments)


def one_command(words: list[str]) -> list[str]:
    """Return the words up to what the shell does with the output."""
    end = next((n for n, word in enumerate(words) if word in ("|", "&&", ";", "&")), len(words))
    return words[:end]


def leaf(group: Any, words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words name, and its arguments."""
    for number, word in enumerate(words):
        if not hasattr(group, "commands"):
            return group, words[number:]
        group = group.commands[word]
    return group, []


@pytest.mark.parametrize(
    ("shown", "lacks"),
    [
        ("✓ train  1.9 s  one of 3, cv_r2 0.8899\n...", []),
        ("Report: .roadworthy/runs/20261121-071121-63f792/report.html", []),
        ('Answer {"l": 8.43, ...}, by version 1', []),
        ("✓ gate  0.7 s  passed", ["✓ gate  0.7 s  passed"]),
    ],
)
def test_a_sample_is_compared_without_what_differs_between_runs(shown, lacks):
    output = (
        "✓ train      12.0 s  one of 3, cv_r2 0.9\n✗ gate  3.0 s  failed\n"
        "Report: .roadworthy/runs/20300102-030405-0a1b2c/report.html\n"
        'Answer  {"l": 9.1, "h": 2}, by version 1\n'
    )
    assert missing(shown, output) == lacks
