"""A step is recorded in its run, and a run that uses another's results has their records."""

import pytest

from roadworthy.core.settings import Settings
from roadworthy.steps.task import task
from roadworthy.tracking import records
from roadworthy.training.gate import Verdict


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    return Settings().records


def test_what_an_engine_used_again_is_in_the_records_of_the_run(place, monkeypatch):
    # given a run whose training and evaluation are done, and that failed at its gate
    monkeypatch.setenv("ROADWORTHY_RUN", "first")
    for step in ("train", "evaluate"):
        with task(step) as done:
            done.done(Verdict(()), figures={"residuals": b"png"} if step == "evaluate" else {})
    with pytest.raises(ValueError, match="no"), task("gate"):
        raise ValueError("no")
    # when another run goes on with its bundle, twice
    monkeypatch.setenv("ROADWORTHY_RUN", "second")
    for _ in range(2):
        with task("gate", {"run": "first", "rows": 3}, {}) as again:
            again.done(Verdict(()), more=1)
    # then it has the records of what it did not execute, and says so
    told = {record.step: record for record in records.read(place, "second")}
    assert list(told) == ["train", "evaluate", "gate"]
    assert told["train"].details["made_in"] == "first"
    assert told["train"].summary.endswith("(result of run first)")
    assert (told["gate"].state, told["gate"].details["more"]) == ("done", 1)
    assert records.figures(place, "second") == {"residuals": b"png"}
