"""A person sees a line for each step, once, and every message as it is."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from roadworthy.records import Record
from roadworthy.terminal import age, facts, follow, harmless, print_json, table

START = "2025-01-02T03:04:05+00:00"
END = "2025-01-02T03:04:07.500+00:00"
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def done(step, summary="", **more):
    return Record(step, START, END, "done", summary, **more)


def shown(renderable=None, states=None, *, width=80, terminal=False):
    output = io.StringIO()
    console = Console(
        file=output, width=width, highlight=False, force_terminal=terminal, color_system=None
    )
    if states is not None:
        follow(console, states)
    else:
        console.print(renderable)
    return output.getvalue()


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"seconds": -5}, "now"),
        ({"seconds": 0.9}, "now"),
        ({"seconds": 1}, "1 second"),
        ({"seconds": 59}, "59 seconds"),
        ({"seconds": 60}, "1 minute"),
        ({"minutes": 59, "seconds": 59}, "59 minutes"),
        ({"hours": 1}, "1 hour"),
        ({"hours": 23}, "23 hours"),
        ({"days": 1}, "1 day"),
        ({"days": 400}, "400 days"),
    ],
)
def test_age_is_told_in_its_greatest_unit(span, words):
    assert age(NOW - timedelta(**span), NOW) == words


def test_age_is_counted_from_now():
    assert age(datetime.now(UTC) - timedelta(hours=3, minutes=1)) == "3 hours"


def test_each_step_has_a_line_when_it_has_ended_and_only_one():
    first, second = done("checkout", "commit abc"), done("train", "5 candidates")
    running = Record("train", START)
    states = [[], [Record("checkout", START)], [first], [first, running], [first, second]]

    told = shown(states=[*states, states[-1], states[-1]])

    assert told.splitlines() == [
        "✓ checkout    2.5 s  commit abc",
        "✓ train       2.5 s  5 candidates",
    ]


def test_a_failed_step_tells_its_error():
    failed = Record("train", START, END, "failed", "summary", "The data is bad.\nsecond line")

    assert shown(states=[[failed]]) == "✗ train       2.5 s  The data is bad.\n"


def test_the_last_records_are_returned():
    last = [done("checkout"), done("train")]

    assert follow(Console(file=io.StringIO()), [[], last[:1], last]) == last
    assert follow(Console(file=io.StringIO()), []) == []


@pytest.mark.parametrize(
    "message", ["[red]no[/red]", "[/]", "a [b] c\\", ":car: [link=x]", "[1, 2]"]
)
def test_what_looks_like_markup_comes_out_unchanged(message):
    assert message in shown(states=[[done("train", message)]])
    assert message in shown(table(["name", ">value"], [[message, 1]]))
    assert message in shown(facts([(message, message)]))


def test_in_a_file_no_line_is_cut_or_broken():
    message = "word " * 60 + "end"

    assert shown(states=[[done("train", message)]]).splitlines() == [
        f"✓ train       2.5 s  {message}"
    ]


def test_on_a_terminal_a_line_is_cut_and_the_running_step_is_shown():
    states = [[Record("train", START)], [done("train", "word " * 60)]]

    told = shown(states=states, terminal=True)

    assert told.count("✓ train") == 1
    assert "…" in told
    assert "word " * 20 not in told


def test_a_table_aligns_its_columns():
    lines = shown(table(["name", ">count"], [["a", 1], ["long", 22]])).splitlines()

    assert [line.rstrip() for line in lines] == ["name  count", "a         1", "long     22"]


@given(st.integers(1, 10**9))
def test_age_is_the_whole_units_of_the_span(seconds):
    count, unit = age(NOW - timedelta(seconds=seconds), NOW).split()

    length = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[unit.removesuffix("s")]
    assert int(count) == seconds // length
    assert unit.endswith("s") == (int(count) > 1)


@pytest.mark.parametrize("details", [{"passed": False}, {"good": False}])
def test_a_gate_that_says_no_is_not_marked_as_well(details):
    record = done("gate", "failed 2 of 14 checks", details=details)
    assert shown(states=[[record]]).startswith("✗")


def test_what_json_does_not_know_is_written_as_a_word(capsys):
    print_json({"at": datetime(2025, 1, 2, tzinfo=UTC), "version": 3, "path": Path("a")})

    told = capsys.readouterr().out
    assert json.loads(told) == {"at": "2025-01-02 00:00:00+00:00", "version": 3, "path": "a"}
    assert told.endswith("\n")


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\ud800"])
def test_a_cell_does_not_steer_the_terminal(sign):
    assert sign not in shown(table(["name"], [[f"a{sign}b"]]), terminal=False)
    assert "a b" in shown(facts([("name", f"a{sign}b")]))
    assert harmless(f"a{sign}\nb") == "a \nb"
