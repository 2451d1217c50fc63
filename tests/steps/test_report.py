"""The report is written beside the records, again the same; what a run left is taken back first."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from roadworthy.core.errors import ExitCode, RoadworthyError
from roadworthy.rollout.engine import lease
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.routing import routes
from roadworthy.steps.canary import canary
from roadworthy.steps.promote import promote
from roadworthy.steps.report import HTML, JSON, report
from roadworthy.steps.stage import stage as load
from roadworthy.tracking import records
from roadworthy.tracking.registry import Registry
from tests.steps.test_release import pass_stages, stage

PATIENCE_SECONDS = 60
CANARY = """
import sys
from pathlib import Path
from roadworthy.tracking.records import step
from roadworthy.core.settings import Settings
from roadworthy.steps.canary import canary

with step(Settings().records, "run-1", "canary"):
    canary(Settings(), packed=Path(sys.argv[1]), version=2, owner="run-1")
"""
REPORT = """
import sys
from roadworthy.core.settings import Settings
from roadworthy.steps.report import report

print(report(Settings(), "run-1", model="fuel", trigger="data").outcome)
print(*sys.modules)
"""


@pytest.fixture
def place(settings):
    with records.step(settings.records, "run-1", "checkout") as record:
        record.details = {"commit": "c" * 40, "data_hash": "d" * 32, "new": False}
        record.summary = "nothing new"
    records.attach(settings.records, "run-1", {"residuals": b"\x89PNG"})
    return settings


def test_page_and_json_lie_beside_the_records(place, tmp_path):
    html = tmp_path / "deep" / "er" / "report.html"

    found = report(place, "run-1", model="fuel", trigger="manual", html=html)

    assert found.outcome == "nothing new"
    page = records.get(place.records, "run-1", HTML)
    assert html.read_bytes() == page
    assert b"data:image/png;base64,iVBORw" in page
    assert json.loads(records.get(place.records, "run-1", JSON))["why"] == "nothing new"


def test_a_run_that_recorded_nothing_has_a_report(settings):
    found = report(settings, "run-2", model="fuel", trigger="manual")

    assert found.outcome == "failed"
    assert b"No step was started." in records.get(settings.records, "run-2", HTML)


def done(settings, *steps):
    for name in steps:
        with records.step(settings.records, "run-1", name):
            pass


def written(settings):
    return json.loads(records.get(settings.records, "run-1", JSON))


def with_traffic(settings, sign, packed):
    """Begin to verify in a process of its own, and send it a signal when it has traffic."""
    paced = settings.model_copy(update={"stage_seconds": 1.0, "quiet_seconds": 600.0})
    process = subprocess.Popen(
        [sys.executable, "-c", CANARY, packed.path], env=os.environ | paced.environment()
    )
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not routes.read(settings.routing, "fuel").weight:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(sign)
        return process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def second(live, packed, simple):
    """Version 1 is the champion, version 2 is staged."""
    steps = {"packed": packed.path, "version": 1, "owner": "run-1"}
    load(live.settings, **steps)
    canary(live.settings, **steps)
    promote(live.settings, "fuel", version=1, owner="run-1")
    live.again(simple.path)
    load(live.settings, packed=simple.path, version=2, owner="run-1")
    done(live.settings, "release", "stage")
    return live


def test_what_a_killed_step_left_is_taken_out_of_service(second, simple):
    # given a step that is killed while its version has traffic
    settings = second.settings
    assert with_traffic(settings, signal.SIGKILL, simple) == -signal.SIGKILL
    assert routes.read(settings.routing, "fuel").weight

    # when the run's last step comes
    found = report(settings, "run-1", model="fuel", trigger="data")

    # then the champion answers alone, and the report says why
    assert found.outcome == "failed"
    assert found.why.startswith("The run was stopped during canary. Run again. ")
    assert found.why.endswith("Version 2 of fuel is rolled back: its run ended before it did.")
    assert written(settings)["why"] == found.why
    status = LocalTarget(settings).status("fuel")
    assert (status.champion, status.challenger, status.weight) == (1, 0, 0)
    assert (status.ready, status.problem) == (True, "")
    assert second.tags(2)["rolled_back"] == "its run ended before it did"
    assert (second.aliases(1), second.aliases(2)) == (("champion",), ())
    # and nothing is left that another run would have to wait for
    assert LocalTarget(settings).records.read("fuel").rollout.settled
    again = report(settings, "run-1", model="fuel", trigger="data")
    assert again.why == "The run was stopped during canary. Run again."


def test_a_step_that_is_told_to_end_takes_its_version_along(second, simple):
    assert with_traffic(second.settings, signal.SIGTERM, simple) != 0

    assert routes.read(second.settings.routing, "fuel").challenger is None
    found = report(second.settings, "run-1", model="fuel", trigger="data")
    assert "canary: KeyboardInterrupt" in found.why
    assert "run-1 was interrupted" in found.why


def test_a_promotion_that_was_killed_is_finished(registered):
    stage(registered)
    pass_stages(registered)
    held = lease.hold(
        registered.settings, LocalTarget(registered.settings).records, "fuel", 1, "run-1"
    )
    held.move("promoted", weight=0)
    done(registered.settings, "release", "stage", "canary")

    found = report(registered.settings, "run-1", model="fuel", trigger="data")

    assert found.why.endswith("Version 1 of fuel is promoted.")
    assert routes.read(registered.settings.routing, "fuel").champion.version == 1
    assert registered.aliases() == ("champion",)


def test_the_rollout_of_another_is_left_alone(registered):
    stage(registered)
    held = lease.hold(
        registered.settings, LocalTarget(registered.settings).records, "fuel", 1, "run-1"
    )
    lease.take_over(registered.settings, held.records, held.rollout, "ada")
    before = routes.read(registered.settings.routing, "fuel")
    done(registered.settings, "release")

    found = report(registered.settings, "run-1", model="fuel", trigger="data")

    assert found.why == "The run was stopped after release. Run again."
    assert held.records.read("fuel").rollout.state == "staged"
    assert routes.read(registered.settings.routing, "fuel") == before


@pytest.mark.parametrize(
    "error", [RoadworthyError("The registry is gone. Start it."), KeyError("a bug")]
)
def test_what_cannot_be_taken_back_is_told_and_the_report_written(registered, error, monkeypatch):
    def fail(*arguments):
        raise error

    done(registered.settings, "release")
    monkeypatch.setattr(Registry, "model_tags", fail)

    with pytest.raises(RoadworthyError, match="rollout abort fuel") as caught:
        report(registered.settings, "run-1", model="fuel", trigger="data")

    assert caught.value.exit_code == ExitCode.FAILED
    told = written(registered.settings)
    assert (told["outcome"], told["exit_code"]) == ("failed", 1)
    assert told["why"].startswith("The run was stopped after release. Run again. The run's")
    assert str(caught.value) in told["why"]


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        (("checkout", "gate", "release", "stage", "canary", "promote"), "released"),
        (("checkout", "prepare"), "failed"),
    ],
)
def test_a_run_that_left_nothing_imports_neither_registry_nor_cluster(settings, steps, outcome):
    done(settings, *steps)

    told = subprocess.run(
        [sys.executable, "-c", REPORT],
        env=os.environ | settings.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert told.startswith(outcome)
    assert not {"mlflow", "kubernetes", "roadworthy.tracking.registry"} & set(told.split())
