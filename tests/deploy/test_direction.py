"""The CronJob of the daily cycle and the server of its champion fit their schemas."""

import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml


@pytest.fixture(scope="module")
def documents(root, requires):
    assets = requires.variable(
        "KUBEBUILDER_ASSETS", "setup-envtest use -p path prints the directory"
    )
    command = [Path(assets, "kubectl"), "kustomize", root / "deploy" / "direction"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}


def test_they_fit_the_schemas_of_a_current_kubernetes(documents):
    assert set(documents) == {
        "ConfigMap",
        "CronJob",
        "Deployment",
        "PersistentVolumeClaim",
        "Service",
    }
    for document in documents.values():
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_cycle_runs_once_at_a_time_and_keeps_its_history_short(documents, root):
    spec = documents["CronJob"]["spec"]
    job = spec["jobTemplate"]["spec"]

    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("America/New_York", "Forbid")
    assert spec["startingDeadlineSeconds"] < 24 * 3600
    assert job["activeDeadlineSeconds"] < 24 * 3600
    assert {"successfulJobsHistoryLimit", "failedJobsHistoryLimit"} <= set(spec)
    # it runs the very script, with the home that the server reads
    script = root / "deploy" / "direction" / "cycle"
    assert documents["ConfigMap"]["data"]["cycle"] == script.read_text()
    assert os.access(script, os.X_OK)
    (cycle,) = job["template"]["spec"]["containers"]
    (server,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    (home,) = [of["value"] for of in cycle["env"] if of["name"] == "ROADWORTHY_HOME"]
    assert f"--routing={home}/routing" in server["args"]
    assert documents["Service"]["spec"]["ports"][0]["nodePort"] == 30951
