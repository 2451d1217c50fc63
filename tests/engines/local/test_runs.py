"""The runs of this machine are listed, the latest first, by what they leave."""

import json
import os
import socket
from datetime import UTC, datetime

import pytest

from roadworthy.core.process_id import here
from roadworthy.core.settings import Settings
from roadworthy.engines.local.runs import on_this_machine
from roadworthy.tracking import records

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


def ran(settings, name, *, model="fuel", outcome="", started="10:00:00", ended="10:00:20"):
    """Leave what a run of this machine leaves."""
    directory = settings.home / "runs" / name
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps({"model": model, "trigger": "data"}))
    step = {"step": "checkout", "started": f"2026-11-21T{started}+00:00", "state": "done"}
    step["ended"] = f"2026-11-21T{ended}+00:00" if ended else ""
    records.put(settings.records, name, "step.checkout.json", json.dumps(step).encode())
    if outcome:
        report = json.dumps({"outcome": outcome}).encode()
        records.put(settings.records, name, "report.json", report)


def test_runs_of_this_machine_come_the_latest_first(settings):
    ran(settings, "20261121-090000-aaaaaa", outcome="released")
    ran(settings, "20261121-100000-bbbbbb", outcome="rejected", ended="10:01:40")
    ran(settings, "20261121-110000-cccccc", model="boats", outcome="released")

    found = on_this_machine(settings, "", 20, NOW)

    assert [(run.name[-6:], run.model, run.state, run.seconds) for run in found] == [
        ("cccccc", "boats", "released", 20),
        ("bbbbbb", "fuel", "rejected", 100),
        ("aaaaaa", "fuel", "released", 20),
    ]
    assert found[0].address == str(settings.home / "runs" / found[0].name / "report.html")
    assert [run.name[-6:] for run in on_this_machine(settings, "fuel", 1, NOW)] == ["bbbbbb"]


@pytest.mark.parametrize(
    ("holder", "state", "seconds"),
    [(here(), "running", 60), (f"{socket.gethostname()}:{2**22 + 1}:1", "stopped", None)],
    ids=["alive", "killed"],
)
def test_a_running_run_is_told_from_one_that_was_killed(settings, holder, state, seconds):
    ran(settings, "20261121-100000-aaaaaa", started="10:00:00", ended="10:00:05")
    ran(settings, "20261121-110000-bbbbbb", started="11:59:00", ended="")
    facts = {"run": "20261121-110000-bbbbbb", "holder": holder}
    (settings.home / "fuel.run.json").write_text(json.dumps(facts))

    last, killed = on_this_machine(settings, "", 20, NOW)

    assert (last.state, last.seconds) == (state, seconds)
    assert (killed.state, killed.seconds, killed.address) == ("stopped", 5, "")


def test_a_run_that_did_not_come_to_a_step_has_no_times(settings):
    directory = settings.home / "runs" / "20261121-100000-aaaaaa"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps({"model": "fuel", "trigger": "manual"}))

    (found,) = on_this_machine(settings, "", 20, NOW)

    assert (found.state, found.started, found.seconds) == ("stopped", None, None)
    assert found.to_dict()["started"] is None
