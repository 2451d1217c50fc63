"""The command line itself: help, wrong usage, errors as sentences. Runs are told in stories."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from roadworthy import __version__
from roadworthy.cli import main
from tests.loading import loaded_by

runner = CliRunner()
COMMANDS = sorted(get_command(main.app).commands)
SHOWING = ["compare", "lineage", "models", "reproduce", "run"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, empty_registry):
    """A home with an empty registry, and no clone around it."""
    shutil.copytree(empty_registry, tmp_path / "home" / "mlflow")
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command):
    shown = runner.invoke(main.app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"roadworthy {command}" in shown.output
    assert "Example" in shown.output


def test_help_needs_no_settings():
    assert not loaded_by("import roadworthy.cli.main") & {
        "pydantic",
        "httpx",
        "tenacity",
        "yaml",
        "kfp",
    }


@pytest.mark.parametrize("command", SHOWING)
def test_every_command_that_shows_something_has_json(command):
    assert "--json" in runner.invoke(main.app, [command, "--help"]).output


def ended(capsys, monkeypatch, *arguments):
    """Run the command as a user does; return its exit code and what it printed."""
    monkeypatch.setattr("sys.argv", ["roadworthy", *arguments])
    with pytest.raises(SystemExit) as left:
        main.main()
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["drive"], 2, "No such command"),
        (["run"], 2, "Missing argument"),
        (["run", "boats"], 2, "There is no model 'boats'"),
        (["run", "fuel"], 1, "not in a Git repository"),
        (["run", "fuel", "--set", "ridge.alpha=3"], 2, "use --set together with --experiment"),
        (["run", "fuel", "--candidate", "forest"], 2, "name one of polynomial, ridge"),
        (["submit", "fuel", "--candidate", "forest"], 2, "name one of polynomial, ridge"),
        (["lineage", "fuel"], 1, "no champion yet"),
        (["lineage", "fuel:x"], 1, "names no version"),
        (["reproduce", "fuel:3"], 1, "There is no version 3"),
        (["compare"], 2, "Missing argument"),
        (["compare", "fuel:3", "fuel:4"], 1, "There is no version 3"),
        (["compare", "fuel:4"], 1, "no champion yet"),
        (["compare", "fuel:1", "boats:1"], 1, "are different models"),
        (["serve", "--port", "no"], 2, "valid integer"),
    ],
)
def test_errors_are_sentences_with_an_exit_code(capsys, monkeypatch, arguments, code, told):
    left, _, complained = ended(capsys, monkeypatch, *arguments)
    assert left == code
    assert told in " ".join(complained.split())
    assert "Traceback" not in complained


def test_the_version_is_told(capsys, monkeypatch):
    left, told, _ = ended(capsys, monkeypatch, "--version")
    assert (left, told) == (0, f"roadworthy {__version__}\n")


def test_a_shell_completes_commands():
    asked = {
        "_ROADWORTHY_COMPLETE": "complete_bash",
        "COMP_WORDS": "roadworthy ro",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-c", "from roadworthy.cli.main import main; main()"]
    done = subprocess.run(
        command, env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert "rollback" in done.stdout.split()


def test_no_versions_yet(capsys, monkeypatch):
    left, told, _ = ended(capsys, monkeypatch, "models", "--json")
    assert not left
    assert json.loads(told) == []
