"""A run is followed to its end, over outages too, and its own report tells how it ended."""

import json

import pytest
import s3fs

from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.engines.kubeflow.following import State, WaitingError, conclude, watch
from roadworthy.engines.kubeflow.submission import submit
from roadworthy.engines.kubeflow.tasks import TITLES, Task
from roadworthy.tracking import records
from tests.parts.kfp import ENDINGS


@pytest.fixture
def run(client, package):
    """Start a run, and return its id."""
    return lambda: submit(client, package, "[data] at [now]", {}).run


def follow(client, run, timeout=None):
    told = []
    states = list(watch(client, run, timeout=timeout, tell=told.append))
    return states, told


def test_every_step_is_seen_from_start_to_end(client, run):
    states, told = follow(client, run())

    seen = dict.fromkeys(str(task) for state in states for task in state.tasks.values())
    first = TITLES[ENDINGS["released"][0]]
    assert list(seen)[:2] == [f"{first}: running", f"{first}: done"]
    assert list(seen)[-1] == f"{TITLES['report']}: done"
    assert [state.ended for state in states] == [False] * (len(states) - 1) + [True]
    assert states[-1].state == "SUCCEEDED"
    assert told == []


@pytest.mark.parametrize(
    ("ending", "state", "end"),
    [("failed", "FAILED", "failed (exit code 1)"), ("cancelled", "CANCELED", "done")],
)
def test_a_run_that_does_not_succeed_is_seen_to_end(kfp_api, client, run, ending, state, end):
    kfp_api.ending = ending

    states, _ = follow(client, run())

    assert states[-1].state == state
    last = [task for task in states[-1].tasks.values() if task.step != "report"][-1]
    assert str(last) == f"{TITLES[ENDINGS[ending][-1]]}: {end}"


def test_a_kubeflow_that_is_replaced_is_waited_for(kfp_api, client, run):
    number, told = run(), []

    def tell(sentence):
        told.append(sentence)
        kfp_api.start()

    watched = watch(client, number, timeout=None, tell=tell)
    next(watched)
    kfp_api.stop()
    *_, last = watched

    assert last.state == "SUCCEEDED"
    assert "connection refused" in told[0]


def test_a_kubeflow_that_stays_away_is_given_up_and_the_run_is_not(kfp_api, connect, run):
    watched = watch(connect(outage_seconds=0.1), run(), timeout=None, tell=lambda _: None)
    next(watched)
    kfp_api.stop()

    with pytest.raises(WaitingError, match=r"unavailable for 0\.1 s; the run continues.*/#/runs/"):
        list(watched)


def test_a_run_that_takes_too_long_is_waited_for_no_longer(kfp_api, client, run):
    kfp_api.ending = "endless"

    with pytest.raises(WaitingError, match=r"still running after 0\.3 s.*--timeout"):
        follow(client, run(), timeout=0.3)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", records=str(tmp_path / "records"))


def state(word, *steps, **states):
    known = dict.fromkeys(steps, "SUCCEEDED") | states
    return State(word, {step: Task(step, known[step]) for step in known})


def report(settings, content):
    told = content if isinstance(content, bytes) else json.dumps(content).encode()
    records.put(settings.records, "run", "report.json", told)


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
def test_the_report_tells_how_a_run_ended(settings, told, word, code):
    report(settings, {"outcome": told, "why": "Because."})

    verdict = conclude(settings, "run", state(word, "checkout"))

    assert (verdict.outcome, verdict.why, verdict.exit_code) == (told, "Because.", code)


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (state("FAILED", "checkout", promote="FAILED"), f"{TITLES['promote']}: failed. Read"),
        (state("CANCELED", "checkout"), "The run was cancelled in Kubeflow. Submit it again."),
        (State("FAILED", {}, "no such service account"), "no such service account. Read"),
    ],
)
def test_a_report_of_success_does_not_overrule_a_failure(settings, ended, why):
    report(settings, {"outcome": "released", "why": "Because."})

    verdict = conclude(settings, "run", ended)

    assert verdict.exit_code == ExitCode.FAILED
    assert verdict.why.startswith(why)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("released", ExitCode.DONE),
        ("rolled back", ExitCode.ROLLED_BACK),
        ("rejected", ExitCode.GATE),
        ("nothing new", ExitCode.DONE),
        ("", ExitCode.DONE),
    ],
)
@pytest.mark.parametrize("content", [None, b"no JSON", {"outcome": "glorious"}])
def test_without_a_report_the_steps_tell(settings, outcome, code, content):
    if content is not None:
        report(settings, content)
    steps = ENDINGS.get(outcome, ())

    verdict = conclude(settings, "run", state("SUCCEEDED", *steps, "report"))

    assert (verdict.outcome, verdict.exit_code) == (outcome, code)
    assert "There is no report of it in" in verdict.why


def test_where_reports_are_not_known_or_cannot_be_read_the_reason_is_told(monkeypatch, tmp_path):
    ended = state("SUCCEEDED", "checkout")
    verdict = conclude(Settings(home=tmp_path), "run", ended)
    assert verdict.why.endswith("set ROADWORTHY_RECORDS to where the steps write it.")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()  # it keeps the credentials of before
    chosen = Settings(home=tmp_path, records="s3://records.example")
    assert "credentials" in conclude(chosen, "run", ended).why
