"""What a user, or a job, sees of Kubeflow at the command line."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from roadworthy.cli import kubeflow, main
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.tracking import records
from tests.parts.git_clone import commit, make

ROOT = Path(__file__).parents[2]
TOKEN = "very-secret-token"
# A compiler that is quick: what the real one makes was compiled before.
COMPILER = """
import argparse, pathlib
parser = argparse.ArgumentParser()
for name in ("--image", "--output", "model"):
    parser.add_argument(name)
options = parser.parse_args()
text = pathlib.Path(f"pipelines/{options.model}.yaml").read_text()
image = "roadworthy/pipeline:" + 40 * "0"
pathlib.Path(options.output).write_text(text.replace(image, options.image))
"""
NAME = "[data] at [2026-11-21T10:00:00Z]"
AS_A_JOB = ("submit", "fuel", "--trigger", "data", "--timestamp", "2026-11-21T10:00:00Z")

app = typer.Typer()
kubeflow.mount(app)


@pytest.fixture(scope="session")
def small_clone(tmp_path_factory):
    """A clone with the pipeline, its commit, and a compiler that is quick."""
    files = {
        "src/roadworthy/models/fuel/__init__.py": "",
        "components/train.py": "",
        "pipelines/compiler.py": COMPILER,
        "pipelines/fuel.yaml": (ROOT / "pipelines" / "fuel.yaml").read_text(),
        "requirements/pipeline.txt": "",
    }
    place = make(tmp_path_factory.mktemp("small") / "clone", files)
    return place, commit(place)


@pytest.fixture
def clone(small_clone, kfp_api, tmp_path, monkeypatch):
    """Somebody in a clone who knows Kubeflow and the image."""
    place, head = small_clone
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)
    kfp_api.token = TOKEN
    for name, value in {
        "HOME": tmp_path / "home",
        "IMAGE": f"registry.example/pipeline:{head}",
        "RECORDS": tmp_path / "records",
        "KFP_URL": kfp_api.url,
        "KFP_TOKEN": TOKEN,
        "KFP_POLL_SECONDS": 0.01,
        "KFP_OUTAGE_SECONDS": 20,
    }.items():
        monkeypatch.setenv(f"ROADWORTHY_{name}", str(value))
    monkeypatch.chdir(place)
    return head


def say(*words):
    """Give the command; return its exit code and what it printed."""
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, RoadworthyError):
        return int(done.exception.exit_code), str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def report(kfp_api, outcome, why="Because."):
    """Let the next run write its report."""

    def write(run):
        content = json.dumps({"outcome": outcome, "why": why}).encode()
        records.put(Settings().records, run.run_id, "report.json", content)

    kfp_api.on_poll = write


def test_a_run_is_started_followed_and_told(kfp_api, clone):
    report(kfp_api, "released", "version 3 is the champion")

    code, told = say(*AS_A_JOB)

    (run,) = kfp_api.runs.values()
    assert code == 0
    assert run.display_name == NAME
    assert run.runtime_config.parameters == {"commit": clone, "trigger": "data"}
    lines = told.splitlines()
    assert lines[0] == f"Started the run {NAME} of fuel at commit {clone[:12]}."
    assert lines[1] == f"See {kfp_api.url}/#/runs/details/{run.run_id}"
    assert "Train the candidates: running" in lines
    assert "Train the candidates: done" in lines
    assert lines[-2:] == ["Released: version 3 is the champion", lines[1]]
    assert TOKEN not in told


@pytest.mark.parametrize(
    ("ending", "outcome", "code"),
    [
        ("released", "released", 0),
        ("nothing new", "nothing new", 0),
        ("rejected", "rejected", 3),
        ("rolled back", "rolled back", 4),
        ("failed", "failed", 1),
    ],
)
def test_the_command_ends_as_the_run_did(kfp_api, clone, ending, outcome, code):
    kfp_api.at_once, kfp_api.ending = True, ending
    report(kfp_api, outcome)

    ended, told = say(*AS_A_JOB)

    assert ended == code
    assert f"{outcome.capitalize()}: Because." in told


def test_for_a_program_there_is_json_and_nothing_else(kfp_api, clone):
    kfp_api.at_once = True
    report(kfp_api, "rejected", "r2 is too small")

    code, told = say(*AS_A_JOB, "--json")

    found = json.loads(told)
    (number,) = kfp_api.runs
    assert code == found["exit_code"] == 3
    assert found["run"] == number
    assert found["name"] == NAME
    assert found["version"] == f"fuel-{clone}"
    assert (found["outcome"], found["why"], found["state"]) == (
        "rejected",
        "r2 is too small",
        "SUCCEEDED",
    )


def test_who_does_not_wait_is_told_where_to_look(kfp_api, clone):
    code, told = say(*AS_A_JOB, "--no-wait", "--force", "--strategy", "rolling")

    (run,) = kfp_api.runs.values()
    assert code == 0
    assert run.state == "PENDING"
    assert run.runtime_config.parameters["force"] is True
    assert run.runtime_config.parameters["strategy"] == "rolling"
    assert told.splitlines()[-1] == f"See {kfp_api.url}/#/runs/details/{run.run_id}"


def test_on_a_terminal_what_runs_is_in_the_line_that_changes(kfp_api, clone, monkeypatch):
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=200, highlight=False)
    monkeypatch.setattr(kubeflow, "console", terminal)

    assert say(*AS_A_JOB)[0] == 0

    pieces = re.split(r"[\r\n]|\x1b\[[0-9;?]*[a-zA-Z]", shown.getvalue())
    assert "Train the candidates: done" in pieces
    assert "Train the candidates: running" not in pieces


def test_a_job_that_is_run_again_waits_for_the_run_of_before(kfp_api, clone):
    say(*AS_A_JOB, "--no-wait")

    code, told = say(*AS_A_JOB)

    assert code == 0
    assert told.startswith(f"Found the run {NAME}")
    assert len(kfp_api.runs) == 1


def test_a_short_outage_is_told_and_waited_for(kfp_api, clone):
    def go_away(_):
        kfp_api.on_poll = lambda _: None
        kfp_api.cuts = 5

    kfp_api.on_poll = go_away

    code, told = say(*AS_A_JOB)

    assert code == 0
    assert "Retrying for 20 s." in told


def test_a_timeout_ends_the_waiting_alone(kfp_api, clone):
    kfp_api.ending = "endless"

    code, told = say(*AS_A_JOB, "--timeout", "0.2")

    assert code == 1
    assert "still running after 0.2 s" in told
    assert next(iter(kfp_api.runs.values())).state == "RUNNING"


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-21T10:00:00"])
def test_a_time_without_its_offset_is_refused(kfp_api, clone, moment):
    assert say("submit", "fuel", "--timestamp", moment)[0] == 2
    assert kfp_api.requests == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("KFP_URL", "", "set ROADWORTHY_KFP_URL"),
        ("IMAGE", "", "build and push it with `make image`"),
        ("IMAGE", "registry.example/pipeline:latest", "is not pinned"),
        ("IMAGE", f"registry.example/pipeline:{'4f0c' * 10}", "was built from another commit"),
        ("KFP_TOKEN", "wrong", "refuses the login (the token is refused)"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_started(
    kfp_api, clone, monkeypatch, name, value, told
):
    monkeypatch.setenv(f"ROADWORTHY_{name}", value)

    code, answer = say(*AS_A_JOB)

    assert code == 1
    assert told in answer
    assert not kfp_api.runs


def test_ctrl_c_ends_the_waiting_and_not_the_run(kfp_api, clone):
    kfp_api.ending = "endless"
    command = ["env", "--default-signal=INT", sys.executable, "-m", "roadworthy", *AS_A_JOB]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        told = []
        while ": running\n" not in "".join(told):
            told.append(process.stdout.readline())
            assert told[-1], "".join(told)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 130
    assert "The run continues. See " in rest
    assert "--timestamp 2026-11-21T10:00:00Z to wait for its end." in rest
    assert "Traceback" not in rest
    assert TOKEN not in "".join(told) + rest
    assert next(iter(kfp_api.runs.values())).state == "RUNNING"


def test_the_real_compiler_makes_what_kubeflow_takes(kfp_api, clone, tmp_path, monkeypatch):
    place = tmp_path / "clone"
    for name in ("src", "components", "pipelines", "requirements"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, place / name, ignore=ignored)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", place], check=True)
    head = commit(place)
    monkeypatch.chdir(place)
    chosen = f"registry.example/pipeline:{head}"
    kfp_api.at_once = True

    code, told = say("submit", "fuel", "--image", chosen)

    (version,) = kfp_api.versions.values()
    executors = version.pipeline_spec["pipeline_spec"]["deploymentSpec"]["executors"]
    assert code == 0, told
    assert {one["container"]["image"] for one in executors.values()} == {chosen}


def test_a_schedule_is_made_shown_changed_and_removed(kfp_api, clone):
    say(*AS_A_JOB, "--no-wait")

    assert say("schedule", "fuel")[1].startswith("fuel has no schedule. Make one with")
    made = say("schedule", "fuel", "--cron", "0 3 * * 1")
    assert made == (0, "fuel runs at 0 3 * * 1 (trigger data).\n")
    assert say("schedule", "fuel") == made
    changed = say("schedule", "fuel", "--cron", "30 0 4 * * *", "--trigger", "maintenance")
    assert changed == (0, "fuel runs at 30 0 4 * * * (trigger maintenance).\n")
    shown = json.loads(say("schedule", "fuel", "--json")[1])["schedule"]
    assert (shown["cron"], shown["active"]) == ("30 0 4 * * *", True)
    removed = say("schedule", "fuel", "--remove")
    told = "Deleted the schedule of fuel: 30 0 4 * * * (trigger maintenance).\n"
    assert removed == (0, told)
    assert json.loads(say("schedule", "fuel", "--json")[1])["schedule"] is None
    assert kfp_api.most_active == 1


def test_a_schedule_is_made_or_removed_and_not_both(kfp_api, clone):
    assert say("schedule", "fuel", "--cron", "0 3 * * 1", "--remove")[0] == 2
    assert kfp_api.requests == []


def test_the_runs_on_kubeflow_are_listed(kfp_api, clone):
    kfp_api.at_once = True
    say(*AS_A_JOB, "--no-wait")

    code, told = say("runs")
    found = json.loads(say("runs", "--model", "fuel", "--json")[1])

    assert code == 0
    assert NAME in told
    assert [(run["name"], run["trigger"], run["state"]) for run in found] == [
        (NAME, "data", "done")
    ]
    assert json.loads(say("runs", "--model", "boats", "--json")[1]) == []


def test_without_a_kubeflow_the_runs_of_this_machine_are_listed(kfp_api, clone, monkeypatch):
    monkeypatch.delenv("ROADWORTHY_KFP_URL")
    assert "There are no runs yet." in say("runs")[1]
    directory = Settings().home / "runs" / "20261121-100000-aaaaaa"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps({"model": "fuel", "trigger": "manual"}))

    code, told = say("runs")

    assert code == 0
    assert told.splitlines()[1].split() == ["20261121-100000-aaaaaa", "fuel", "manual", "stopped"]
    assert kfp_api.requests == []


@pytest.mark.parametrize(
    ("words", "image", "expected"),
    [
        ([], "ours", ["--image=ours"]),
        ([], "", []),
        (["--image", "-x"], "ours", ["--image=-x"]),
        (["--check"], "ours", ["--check"]),
        (["--check", "--image", "other"], "ours", ["--check", "--image=other"]),
        (["--output", "/tmp/there.yaml"], "", ["--output=/tmp/there.yaml"]),
    ],
)
def test_compile_tells_the_compiler_image_and_file(clone, monkeypatch, words, image, expected):
    run, commands = subprocess.run, []

    def record(command, **options):
        if "pipelines.compiler" not in command:
            return run(command, **options)
        commands.append(command)
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setenv("ROADWORTHY_IMAGE", image)

    done = CliRunner().invoke(main.app, ["compile", "fuel", *words])

    assert done.exit_code == 7, done.output
    assert commands == [[sys.executable, "-m", "pipelines.compiler", *expected, "fuel"]]


@pytest.mark.parametrize("model", ["", "../models/fuel", "Fuel", "fuel\n", "-"])
@pytest.mark.parametrize("command", ["submit", "schedule"])
def test_what_is_no_models_name_is_refused_before_anything_is_asked(kfp_api, clone, command, model):
    code, told = say(command, "--", model)

    assert code == 2
    assert "is no model's name" in told
    assert kfp_api.requests == []


@pytest.mark.parametrize("command", ["compile", "preview", "run", "up"])
def test_every_command_has_the_same_models_names(clone, command):
    done = CliRunner().invoke(main.app, [command, "--", "../models/fuel"])

    assert done.exit_code == 2
    assert "is no model's name" in done.output


def test_signs_that_steer_a_terminal_do_not_come_from_kubeflow(kfp_api, clone):
    kfp_api.ending = "failed"
    say(*AS_A_JOB, "--no-wait")
    (run,) = kfp_api.runs.values()
    run.display_name = "a\x1b]52;c;eHg=\x07\u202e\ud800b"

    code, told = say("runs")

    assert code == 0
    assert "a ]52;c;eHg=   b" in told
