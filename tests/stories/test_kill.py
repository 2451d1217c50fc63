"""A run that is killed at any point and started again ends well, with nothing doubled."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from roadworthy.routing import routes
from roadworthy.tracking import records

from .conftest import Workplace, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = (
    *("checkout", "prepare", "train", "evaluate", "gate"),
    *("release", "stage", "canary", "promote", "report"),
)
WRITING = ("checkout", "train", "release", "stage", "canary", "promote")


def kill(place: Workplace, step: str, *, when: str) -> None:
    """Start a run and kill its command with SIGKILL when a step has got to a state."""
    before = set(place.runs())
    with place.started("run", "fuel") as process:
        wait_until(lambda: set(place.runs()) - before or process.poll() is not None)
        run = (set(place.runs()) - before).pop()

        def reached() -> bool:
            found = records.read(str(run.parent), run.name)
            states = {record.step: record.state for record in found}
            return states.get(step) in (when, "done") or process.poll() is not None

        wait_until(reached)
        process.kill()
    wait_until(lambda: not processes_of(run), 20)


def processes_of(run: Path) -> list[str]:
    """The processes that work for a run."""
    found = []
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found.append(arguments.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if run.name in line]


@pytest.mark.parametrize("when", ["done", "running"])
def test_killed_after_and_during_each_step(workplace: Workplace, when: str) -> None:
    # given runs that were killed, one after each step, or in the midst of each that writes
    for step in STEPS if when == "done" else WRITING:
        kill(workplace, step, when=when)
    # when it is run once more
    done = workplace.roadworthy("run", "fuel")
    # then it ends well
    assert done.returncode == 0, done.stdout + done.stderr
    # and there is one version, one tag, one release, and one MLflow run a candidate
    versions = workplace.json("models")
    assert [(version["version"], version["aliases"]) for version in versions] == [(1, ["champion"])]
    assert workplace.remote("tag") == "fuel-v1"
    assert workplace.remote("log", "--oneline", "main").count("Release fuel-v1") == 1
    home = workplace.path / ".roadworthy"
    client = MlflowClient(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fuel")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["polynomial", "ridge", "support_vectors"]
    assert all(run.info.status == "FINISHED" for run in runs)
    history = client.get_metric_history(runs[0].info.run_id, "cv_r2")
    assert len(history) == 1
    # and the road holds it, and nothing half-written is left where others look
    assert routes.read(home / "road", "fuel").champion.version == 1
    assert len([path for path in (home / "bundles").iterdir() if path.name[0] != "."]) == 1


def test_stopped_by_ctrl_c(workplace: Workplace) -> None:
    # given a run in its third step
    with workplace.started("run", "fuel") as process:
        wait_until(lambda: list(workplace.path.glob(".roadworthy/runs/*/step.prepare.json")))
        # when a person presses Ctrl-C
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    # then it says so, ends with 130 and leaves no process behind
    assert process.returncode == 130
    assert "Stopped" in output
    assert workplace.report()["outcome"] == "failed"
    wait_until(lambda: not processes_of(workplace.runs()[0]), 10)


def test_two_at_once(workplace: Workplace) -> None:
    # given a run under way
    with workplace.started("run", "fuel"):
        wait_until(lambda: list(workplace.path.glob(".roadworthy/runs/*/step.checkout.json")))
        # when another is started, then it is refused in a sentence
        second = workplace.roadworthy("run", "fuel")
    assert second.returncode == 1
    assert "Another run of fuel is under way" in second.stderr
