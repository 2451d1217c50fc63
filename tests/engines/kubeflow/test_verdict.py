"""A run's own report tells how it ended; without one, the steps that it did."""

import json

import pytest
import s3fs

from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.following import State
from roadworthy.engines.kubeflow.tasks import TITLES, Task, outcome, step_of
from roadworthy.engines.kubeflow.verdict import conclude
from roadworthy.tracking import records
from roadworthy.tracking.records import STEPS

WAY = ("checkout", "prepare", "train", "evaluate", "gate")


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", records=str(tmp_path / "records"))


def state(word, *steps, **states):
    known = dict.fromkeys(steps, "SUCCEEDED") | states
    return State(word, {step: Task(step, known[step]) for step in known})


def report(settings, outcome, why="Because."):
    content = json.dumps({"outcome": outcome, "why": why}).encode()
    records.put(settings.records, "run", "report.json", content)


@pytest.mark.parametrize(
    ("told", "word", "code"),
    [
        ("released", "SUCCEEDED", ExitCode.DONE),
        ("nothing new", "SUCCEEDED", ExitCode.DONE),
        ("rejected", "SUCCEEDED", ExitCode.GATE),
        ("rolled back", "SUCCEEDED", ExitCode.ROLLED_BACK),
        ("rolled back", "FAILED", ExitCode.ROLLED_BACK),
        ("failed", "FAILED", ExitCode.FAILED),
    ],
)
def test_the_report_tells(settings, told, word, code):
    report(settings, told)

    verdict = conclude(settings, "run", state(word, "checkout"))

    assert (verdict.outcome, verdict.why, verdict.exit_code) == (told, "Because.", code)


def test_a_report_that_says_better_than_kubeflow_is_not_believed(settings):
    report(settings, "released")

    verdict = conclude(settings, "run", state("FAILED", *WAY, promote="FAILED"))

    assert verdict.exit_code == ExitCode.FAILED
    assert "Promote to champion: failed" in verdict.why


def test_a_run_that_was_stopped_failed_whatever_its_report_says(settings):
    report(settings, "released")

    verdict = conclude(settings, "run", state("CANCELED", "checkout"))

    assert verdict.exit_code == ExitCode.FAILED
    assert verdict.why == "The run was stopped in Kubeflow. Submit it again."


@pytest.mark.parametrize(
    ("steps", "outcome", "code"),
    [
        ((*WAY, "release", "stage", "canary", "promote"), "released", ExitCode.DONE),
        ((*WAY, "release", "stage", "canary"), "rolled back", ExitCode.ROLLED_BACK),
        ((*WAY, "reject"), "rejected", ExitCode.GATE),
        (("checkout",), "nothing new", ExitCode.DONE),
        ((), "", ExitCode.DONE),
    ],
)
def test_without_a_report_the_steps_tell(settings, steps, outcome, code):
    verdict = conclude(settings, "run", state("SUCCEEDED", *steps, "report"))

    assert (verdict.outcome, verdict.exit_code) == (outcome, code)
    assert "There is no report of it in" in verdict.why


def test_where_reports_are_not_known_the_setting_is_told(tmp_path):
    verdict = conclude(Settings(home=tmp_path), "run", state("SUCCEEDED", "checkout"))

    assert verdict.why.endswith("set ROADWORTHY_RECORDS to where the steps write it.")


@pytest.mark.parametrize("content", [b"no JSON", b'{"outcome": "glorious"}'])
def test_a_report_that_cannot_be_read_is_none(settings, content):
    records.put(settings.records, "run", "report.json", content)

    verdict = conclude(settings, "run", state("SUCCEEDED", "checkout"))

    assert verdict.outcome == "nothing new"
    assert "report" in verdict.why


def test_reports_on_an_s3_that_does_not_let_us_in_are_told(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    chosen = Settings(home=tmp_path / "home", records="s3://records.example")
    # It keeps what it was once let in with.
    s3fs.S3FileSystem.clear_instance_cache()

    verdict = conclude(chosen, "run", state("SUCCEEDED", *WAY, "reject"))

    assert verdict.exit_code == ExitCode.GATE
    assert "there are no credentials for S3" in verdict.why


def test_kubeflow_tells_of_a_failure_before_any_step(settings):
    verdict = conclude(settings, "run", State("FAILED", {}, "no such service account"))

    assert verdict.exit_code == ExitCode.FAILED
    assert verdict.why.startswith("no such service account. Look at")


def test_every_step_has_a_title_and_is_known_by_it_and_by_its_name():
    # a canary that fails rolls back itself
    assert set(TITLES) == set(STEPS) - {"roll-back"}
    assert len(set(TITLES.values())) == len(TITLES)
    for step, title in TITLES.items():
        assert step_of(step) == step_of(title) == step
    for other in ("", "root", "checkout-driver", "condition-2", "executor"):
        assert step_of(other) == ""


def test_a_run_that_did_nothing_of_the_kind_has_no_outcome():
    assert outcome({}) is None
    assert outcome(state("SUCCEEDED", "checkout", "prepare").tasks) is None
