"""A step has one line, when it has ended, and every message comes out as it is."""

import io

import pytest
from rich.console import Console

from roadworthy.engines.local.progress import follow
from roadworthy.tracking.records import Record

START = "2025-01-02T03:04:05+00:00"
END = "2025-01-02T03:04:07.500+00:00"


def done(step, summary="", **more):
    return Record(step, START, END, "done", summary, **more)


def shown(states, *, terminal=False):
    output = io.StringIO()
    console = Console(
        file=output, width=80, highlight=False, force_terminal=terminal, color_system=None
    )
    follow(console, states)
    return output.getvalue()


def test_each_step_has_a_line_when_it_has_ended_and_only_one():
    first, second = done("checkout", "commit abc"), done("train", "5 candidates")
    running = Record("train", START)
    states = [[], [Record("checkout", START)], [first], [first, running], [first, second]]

    told = shown([*states, states[-1], states[-1]])

    assert told.splitlines() == [
        "✓ checkout    2.5 s  commit abc",
        "✓ train       2.5 s  5 candidates",
    ]


def test_in_a_file_no_line_is_cut_or_broken():
    message = "word " * 60 + "end"

    assert shown([[done("train", message)]]).splitlines() == [f"✓ train       2.5 s  {message}"]


def test_on_a_terminal_a_running_step_shows_how_far_it_is():
    stages = ["10 % for 2 s: 4 of 44 requests", "50 % for 3 s: 31 of 62 requests"]
    states = [[Record("canary", START, summary=stage)] for stage in stages]

    told = shown([*states, [done("canary", "passed")]], terminal=True)

    assert all(f"canary    {stage}" in told for stage in stages)


def test_on_a_terminal_a_line_is_cut_and_the_running_step_is_shown():
    states = [[Record("train", START)], [done("train", "word " * 60)]]

    told = shown(states, terminal=True)

    assert told.count("✓ train") == 1
    assert "…" in told
    assert "word " * 20 not in told


@pytest.mark.parametrize("details", [{"passed": False}, {"good": False}])
def test_a_gate_that_says_no_is_not_marked_as_well(details):
    record = done("gate", "failed 2 of 14 checks", details=details)
    assert shown([[record]]).startswith("✗")


@pytest.mark.parametrize(
    "message", ["[red]no[/red]", "[/]", "a [b] c\\", ":car: [link=x]", "[1, 2]"]
)
def test_what_looks_like_markup_comes_out_unchanged(message):
    assert message in shown([[done("train", message)]])
