"""A run is followed to its end, over outages too; when that is given up, the run is not."""

import threading

import pytest

from roadworthy.engines.kubeflow.connection import Connection
from roadworthy.engines.kubeflow.following import WaitingError, watch
from roadworthy.engines.kubeflow.submission import submit


@pytest.fixture
def run(connection, package):
    """Start a run, and return its id."""
    return lambda: submit(connection, package, "[data] at [now]", {}).run


def follow(connection, run, timeout=None):
    told = []
    states = list(watch(connection, run, timeout=timeout, tell=told.append))
    return states, told


def test_every_step_is_seen_from_its_begin_to_its_end(connection, run):
    states, told = follow(connection, run())

    seen = dict.fromkeys(str(task) for state in states for task in state.tasks.values())
    assert list(seen)[:4] == [
        "Check out code and data: runs",
        "Check out code and data: done",
        "Validate the data: runs",
        "Validate the data: done",
    ]
    assert list(seen)[-1] == "Write the report: done"
    assert [state.ended for state in states] == [False] * (len(states) - 1) + [True]
    assert states[-1].state == "SUCCEEDED"
    assert told == []


@pytest.mark.parametrize(
    ("ending", "state", "last"),
    [
        ("failed", "FAILED", "Train the candidates: failed (exit code 1)"),
        ("cancelled", "CANCELED", "Prepare the data: done"),
    ],
)
def test_a_run_that_comes_to_nothing_is_seen_to_end(kfp_api, connection, run, ending, state, last):
    kfp_api.ending = ending

    states, _ = follow(connection, run())

    assert states[-1].state == state
    assert str([task for task in states[-1].tasks.values() if task.step != "report"][-1]) == last


def test_a_kubeflow_that_goes_away_and_comes_back_is_waited_for(kfp_api, connection, run):
    back = threading.Event()

    def go_away(_):
        kfp_api.on_poll = lambda _: None
        kfp_api.cuts = 6  # more than one request is made again by itself
        back.set()

    kfp_api.on_poll = go_away
    states, told = follow(connection, run())

    assert back.is_set()
    assert states[-1].state == "SUCCEEDED"
    assert len(told) == 1
    assert "it cut the connection" in told[0]
    assert "Asking again for 20 s." in told[0]


def test_a_kubeflow_that_is_started_anew_is_waited_for(kfp_api, connection, run):
    number = run()
    stopped = []

    def tell(sentence):
        stopped.append(sentence)
        kfp_api.start()

    watched = watch(connection, number, timeout=None, tell=tell)
    next(watched)
    kfp_api.stop()
    *_, last = watched

    assert last.state == "SUCCEEDED"
    assert "nobody listens there" in stopped[0]


def test_a_kubeflow_that_stays_away_is_given_up_and_the_run_is_not(kfp_api, kubeflow, run):
    number = run()
    connection = Connection(kubeflow.model_copy(update={"outage_seconds": 0.1}))
    watched = watch(connection, number, timeout=None, tell=lambda _: None)
    next(watched)
    kfp_api.stop()

    with pytest.raises(WaitingError, match=r"asked for 0\.1 s; the run goes on.*/#/runs/details/"):
        list(watched)


def test_a_run_that_takes_too_long_is_waited_for_no_longer(kfp_api, connection, run):
    kfp_api.ending = "endless"

    with pytest.raises(WaitingError, match=r"still going on after 0\.3 s.*--timeout"):
        follow(connection, run(), timeout=0.3)


def test_a_run_that_is_stopped_in_kubeflow_is_seen_to_be(kfp_api, connection, run):
    kfp_api.ending = "endless"
    number = run()
    watched = watch(connection, number, timeout=None, tell=lambda _: None)
    next(watched)
    connection.runs.run_service_terminate_run(number)

    assert [state.state for state in watched][-1] == "CANCELED"
