"""Runs on Kubeflow are listed, the latest first."""

from dataclasses import replace
from datetime import UTC, datetime

from roadworthy.engines.kubeflow.listing import on_kubeflow
from roadworthy.engines.kubeflow.submission import submit


def test_runs_are_listed_the_latest_first_of_one_model_and_as_many_as_asked_for(
    kfp_api, client, package
):
    assert on_kubeflow(client, "", 20, datetime.now(UTC)) == []
    kfp_api.at_once = True
    for number, ending in enumerate(("released", "failed", "cancelled")):
        kfp_api.ending = ending
        submit(client, package, f"[data] at [{number}]", {"trigger": "data"})
    kfp_api.at_once = False
    submit(client, replace(package, model="boats"), "[feature] at [3]", {"trigger": "feature"})

    found = on_kubeflow(client, "", 20, datetime.now(UTC))

    assert [(run.name, run.model, run.trigger, run.state) for run in found] == [
        ("[feature] at [3]", "boats", "feature", "pending"),
        ("[data] at [2]", "fuel", "data", "cancelled"),
        ("[data] at [1]", "fuel", "data", "failed"),
        ("[data] at [0]", "fuel", "data", "done"),
    ]
    assert all(run.seconds >= 0 and run.started for run in found)
    assert found[0].address.startswith(f"{kfp_api.url}/#/runs/details/")
    names = [run.name for run in on_kubeflow(client, "fuel", 2, datetime.now(UTC))]
    assert names == ["[data] at [2]", "[data] at [1]"]
