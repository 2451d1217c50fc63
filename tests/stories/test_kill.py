"""A run that is killed at any point and started again ends well, with nothing doubled."""

import os
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow.tracking import MlflowClient

from roadworthy.routing import routes
from roadworthy.tracking import records

from .conftest import Workplace, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow, pytest.mark.timeout(900)]

POINTS = (
    # What is done before the release leaves nothing but the run's own files; the end of a step is
    # the beginning of the next one, where that one writes.
    *(("checkout", "running"), ("checkout", "done"), ("train", "running"), ("release", "running")),
    *(("release", "registered"), ("stage", "running"), ("canary", "running")),
    *(("promote", "running"), ("promote", "done"), ("report", "done")),
)


def kill(place: Workplace, step: str, *, when: str) -> None:
    """Start a run and kill its command with SIGKILL when a step has got to a state.

    The release is ``registered`` when the registry has its version, of which no tag tells yet.
    """
    before = set(place.runs())
    with place.started("run", "fuel") as process:
        wait_until(lambda: set(place.runs()) - before or process.poll() is not None)
        run = (set(place.runs()) - before).pop()

        def reached() -> bool:
            if when == "registered" and is_registered(place):
                return True
            found = records.read(str(run.parent), run.name)
            states = {record.step: record.state for record in found}
            return states.get(step) in (when, "done") or process.poll() is not None

        wait_until(reached)
        process.kill()
    wait_until(lambda: not processes_of(run), 20)


def is_registered(place: Workplace) -> bool:
    database = place.path / ".roadworthy" / "mlflow" / "mlflow.db"
    address = f"file:{quote(str(database))}?mode=ro"
    with (
        suppress(sqlite3.OperationalError),  # it is not made yet
        closing(sqlite3.connect(address, uri=True)) as registry,
    ):
        return registry.execute("select count(*) from model_versions").fetchone()[0] > 0
    return False


def processes_of(run: Path) -> list[str]:
    """The processes that work for a run."""
    found = []
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found.append(arguments.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if run.name in line]


def test_killed_during_and_after_steps(workplace: Workplace) -> None:
    # given runs that were killed, each at another point
    for step, when in POINTS:
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
    # and what one of them trained was used again
    steps = [one for run in workplace.runs() for one in records.read(str(run.parent), run.name)]
    assert any("made_in" in step.details for step in steps if step.step == "train")
    # and the routing file holds it, and nothing half-written is left where others look
    assert routes.read(home / "routing", "fuel").champion.version == 1
    assert len([path for path in (home / "bundles").iterdir() if path.name[0] != "."]) == 1


def test_another_run_is_refused_and_ctrl_c_stops(workplace: Workplace) -> None:
    # given a run under way
    with workplace.started("run", "fuel") as process:
        wait_until(lambda: list(workplace.path.glob(".roadworthy/runs/*/step.checkout.json")))
        # when another is started, then it is refused in a sentence
        second = workplace.roadworthy("run", "fuel")
        assert second.returncode == 1
        assert "Another run of fuel is under way" in second.stderr
        # when a person presses Ctrl-C in the middle
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    # then it says so, ends with 130 and leaves no process behind
    assert process.returncode == 130
    assert "Stopped" in output
    assert workplace.report()["outcome"] == "failed"
    wait_until(lambda: not processes_of(workplace.runs()[0]), 10)
