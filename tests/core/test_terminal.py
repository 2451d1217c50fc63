"""Tables, facts and ages come out as they are meant, whatever they hold."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from roadworthy.core.terminal import age, as_typed, facts, harmless, print_json, table

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def shown(renderable):
    output = io.StringIO()
    Console(file=output, width=80, highlight=False, color_system=None).print(renderable)
    return output.getvalue()


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"seconds": -5}, "now"),
        ({"seconds": 1}, "1 second"),
        ({"minutes": 59, "seconds": 59}, "59 minutes"),
        ({"hours": 1}, "1 hour"),
        ({"days": 400}, "400 days"),
    ],
)
def test_age_is_told_in_its_greatest_unit(span, words):
    assert age(NOW - timedelta(**span), NOW) == words


@pytest.mark.parametrize(
    "message", ["[red]no[/red]", "[/]", "a [b] c\\", ":car: [link=x]", "[1, 2]"]
)
def test_what_looks_like_markup_comes_out_unchanged(message):
    assert message in shown(table(["name", ">value"], [[message, 1]]))
    assert message in shown(facts([(message, message)]))


def test_a_table_aligns_its_columns():
    lines = shown(table(["name", ">count"], [["a", 1], ["long", 22]])).splitlines()

    assert [line.rstrip() for line in lines] == ["name  count", "a         1", "long     22"]


def test_what_json_does_not_know_is_written_as_a_word(capsys):
    print_json({"at": datetime(2025, 1, 2, tzinfo=UTC), "version": 3, "path": Path("a")})

    told = capsys.readouterr().out
    assert json.loads(told) == {"at": "2025-01-02 00:00:00+00:00", "version": 3, "path": "a"}
    assert told.endswith("\n")


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\ud800"])
def test_a_cell_does_not_steer_the_terminal(sign):
    assert sign not in shown(table(["name"], [[f"a{sign}b"]]))
    assert "a b" in shown(facts([("name", f"a{sign}b")]))
    assert harmless(f"a{sign}\nb") == "a \nb"


def test_a_command_in_a_message_can_be_typed(tmp_path, monkeypatch):
    script = tmp_path / "bin" / "roadworthy"
    script.parent.mkdir()
    script.touch(0o755)
    told = "`roadworthy models` lists them."
    monkeypatch.setattr("sys.argv", [str(script)])
    assert as_typed(told) == f"`{script} models` lists them."
    monkeypatch.setenv("PATH", str(script.parent))
    assert as_typed(told) == told
    monkeypatch.setattr("sys.argv", ["pytest"])
    assert as_typed(told) == told
