"""Runs on Kubeflow are listed, the latest first."""

from dataclasses import replace
from datetime import UTC, datetime

from roadworthy.engines.kubeflow.listing import on_kubeflow
from roadworthy.engines.kubeflow.submission import submit

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_runs_on_kubeflow_come_the_latest_first(kfp_api, connection, package):
    kfp_api.at_once = True
    for number, ending in enumerate(("released", "failed", "cancelled")):
        kfp_api.ending = ending
        submit(connection, package, f"[data] at [{number}]", {"trigger": "data"})
    kfp_api.at_once = False
    submit(connection, package, "[feature] at [3]", {"trigger": "feature"})

    found = on_kubeflow(connection, "", 20, datetime.now(UTC))

    assert [(run.name, run.trigger, run.state) for run in found] == [
        ("[feature] at [3]", "feature", "waits"),
        ("[data] at [2]", "data", "stopped"),
        ("[data] at [1]", "data", "failed"),
        ("[data] at [0]", "data", "done"),
    ]
    assert {run.model for run in found} == {"fuel"}
    assert all(run.seconds >= 0 and run.started for run in found)
    assert found[0].address.startswith(f"{kfp_api.url}/#/runs/details/")


def test_runs_on_kubeflow_are_of_one_model_and_as_many_as_asked_for(connection, package):
    other = replace(package, model="boats")
    for number in range(3):
        submit(connection, package, f"[data] at [{number}]", {})
        submit(connection, other, f"[data] at [{number}]", {})

    found = on_kubeflow(connection, "boats", 2, datetime.now(UTC))

    assert [(run.model, run.name) for run in found] == [
        ("boats", "[data] at [2]"),
        ("boats", "[data] at [1]"),
    ]


def test_a_kubeflow_without_runs_has_none(connection):
    assert on_kubeflow(connection, "", 20, NOW) == []
