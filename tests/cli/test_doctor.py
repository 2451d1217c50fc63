"""The command ``roadworthy doctor``: what it prints, and what it ends with."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from roadworthy.cli import doctor
from roadworthy.doctor import parts
from roadworthy.doctor.checks import Check, Part
from roadworthy.doctor.finding import missing, ok, warning

app = typer.Typer()
app.callback()(lambda: None)
doctor.mount(app)

THERE = ok("Python", "3.11.2")
SOME = warning("Docker", "only some need it", "systemctl start docker")
LONG = "kubectl create secret generic roadworthy-git --from-file=ROADWORTHY_GIT_TOKEN=FILE " * 2
WORDS = " and ".join(["it has no ROADWORTHY_GIT_TOKEN"] * 5)
GONE = missing("secret roadworthy-git", f"{WORDS} {'0' * 70}", LONG.strip())


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ended(monkeypatch):
    """Run the command where some things are found; return its exit code and what it printed."""

    def run(findings, *arguments):
        part = Part("Laptop", tuple(Check(one.name, lambda one=one: one, "") for one in findings))
        monkeypatch.setattr(parts, "chosen", lambda *_: [part])
        done = CliRunner().invoke(app, ["doctor", *arguments])
        return done.exit_code, done.output

    return run


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ([THERE], 0, "Nothing is missing."),
        ([THERE, SOME], 0, "Nothing is missing; 1 warning."),
        ([THERE, GONE, SOME, SOME], 1, "1 missing of 4; 2 warnings."),
    ],
    ids=["well", "warning", "missing"],
)
def test_it_fails_where_something_is_missing_that_is_needed(ended, findings, code, summary):
    left, told = ended(findings)
    assert left == code
    assert told.splitlines()[-1] == summary


def test_a_line_for_each_with_the_command_that_fixes_it(ended):
    _, told = ended([THERE, SOME, GONE])
    assert told.splitlines()[:5] == [
        "Laptop",
        "✓ Python: 3.11.2",
        "! Docker: only some need it",
        "  → systemctl start docker",
        f"✗ secret roadworthy-git: {GONE.told}",
    ]


def test_as_json(ended):
    left, told = ended([THERE, GONE], "--json")
    said = json.loads(told)
    assert left == 1
    assert said["well"] is False
    assert said["findings"][0] == {
        "part": "Laptop",
        "name": "Python",
        "state": "ok",
        "told": "3.11.2",
        "remedy": "",
    }


def test_it_ends_although_a_check_never_does(tmp_path):
    """A process of its own, because only its end shows that nothing is waited for."""
    code = """
import threading
import typer
from roadworthy.cli import doctor
from roadworthy.doctor import checks, parts

never = checks.Check("never", threading.Event().wait, "fix it")
parts.chosen = lambda *_: [checks.Part("Here", (never,))]
checks.examine.__defaults__ = (0.5,)
app = typer.Typer()
app.callback()(lambda: None)
doctor.mount(app)
app(["doctor"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "✗ never: no response within 0.5 s\n  → fix it" in done.stdout
