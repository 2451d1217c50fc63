"""Version 1 of the detector finds nothing, version 2 does, and the team sees which finds what."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

from roadworthy.models import outliers
from roadworthy.models.outliers.table import CONTEXT
from tests.parts.cluster import Cluster

from .conftest import Workplace, clone, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow, pytest.mark.timeout(1200)]
FAST = {"ROADWORTHY_STAGE_SECONDS": "0.5", "ROADWORTHY_P99_ALLOWANCE_MS": "500"}
PODS = ("outlier-detection-1", "outlier-detection-2")


@pytest.fixture(scope="module")
def place(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A clone in which the plain detector is version 1 and the robust one version 2."""
    made = clone(snapshot, tmp_path_factory.mktemp("outliers") / "clone")
    plain = made.roadworthy("run", "outliers", "--candidate", "global", **FAST)
    # The gate refuses to deploy it.
    assert made.report()["outcome"] == "rejected", plain.stdout + plain.stderr
    assert "recall is 0" in plain.stdout
    robust = made.roadworthy("run", "outliers", "--candidate", "robust", **FAST)
    assert made.report()["outcome"] == "released", robust.stdout + robust.stderr
    return made


def test_two_versions_are_compared_and_the_champion_judges_windows(place: Workplace):
    # when both are side by side, then a table has the values on which they disagree
    compared = place.json("compare", "outliers:1", "outliers:2")
    lines = {(line["part"], line["metric"]): line for line in compared["lines"]}
    assert lines["", "recall"]["first"] == 0
    assert lines["", "recall"]["second"] > 0.6
    assert lines["", "recall"]["better"] == "outliers:2"
    differing = pd.read_csv(compared["csv"])
    assert not differing["outliers:1 outlier"].any()
    assert differing["outliers:2 outlier"].all()
    assert set(differing["kind"].dropna()) >= {"spike", "shift"}

    # and the champion judges a window, and says of one that it cannot judge why
    with place.serving() as url:
        predict = f"{url}/v1/models/outliers:predict"
        values = outliers.Request.model_config["json_schema_extra"]["example"]["values"]
        gap = [1.7e9 + 1800 * at + 7200 * (at > 230) for at in range(len(values))]
        for fields, note in (
            ({}, "ok"),
            ({"step_s": 60}, "other step"),
            ({"timestamps": gap}, "gap"),
            ({"values": [20.0] * len(values)}, "constant"),
        ):
            asked = httpx.post(predict, json={"instances": [{"values": values, **fields}]})
            assert asked.status_code == httpx.codes.OK, asked.text
            (answer,) = asked.json()["predictions"]
            assert answer["note"] == note
            assert len(answer["outlier"]) == len(answer["score"]) == len(values)
        short = httpx.post(predict, json={"instances": [{"values": values[:CONTEXT]}]})
        assert short.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert f"{CONTEXT + 1} to" in short.text
        infer = {"name": "values", "datatype": "FP64", "shape": [1, len(values)], "data": values}
        asked = httpx.post(f"{url}/v2/models/outliers/infer", json={"inputs": [infer]})
        outputs = {output["name"]: output["data"] for output in asked.json()["outputs"]}
        (spike,) = (at for at, value in enumerate(values) if value == 30)
        assert outputs["outlier"][spike]


@pytest.fixture
def images(place: Workplace, docker) -> Iterator[None]:
    """An image of each version, in the engine."""
    subprocess.run(
        [sys.executable, "-m", "dvc", "pull", "--quiet", outliers.data], cwd=place.path, check=True
    )
    subprocess.run(
        ["deploy/outliers/images"],
        cwd=place.path,
        env={**os.environ, "SERVER": docker.serving, "PYTHON": sys.executable},
        check=True,
    )
    yield
    for name in PODS:
        docker.client.images.remove(name.replace("n-", "n:"), force=True)


def test_one_pod_says_that_nothing_was_detected_and_the_other_which(
    place: Workplace, images: None, cluster: Cluster
):
    cluster.load(*(name.replace("n-", "n:") for name in PODS))
    manifest = str(place.path / "deploy" / "outliers" / "pods.yaml")
    try:
        cluster.kubectl("apply", "--filename", manifest)
        for name in PODS:
            wait_until(lambda name=name: cluster.get("pod", name)["status"]["phase"] == "Succeeded")
        first, second = (cluster.kubectl("logs", name) for name in PODS)
    finally:
        cluster.kubectl("delete", "--filename", manifest, "--wait=false")

    assert "No outlier was detected" in first
    assert "outliers were detected" in second
    assert " °C at 2024-0" in second
    assert "times the bound" in second
