"""The figures count every answer once, whatever the number at a time and of processes."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from roadworthy.models.tensors import ragged
from roadworthy.serving.models.metrics import Metrics, Observation
from roadworthy.serving.models.model_store import ModelStore, ModelVersions


def read(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample, by name and the values of its labels in the alphabetical order of names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(asyncio.run(metrics.text()).decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@pytest.fixture(scope="module")
def one(loaded):
    """A version whose answers were from 10 to 50 when it was trained."""
    spread = {"mpg": {"edges": [10.0, 20.0, 30.0, 50.0], "quantiles": [10.0, 25.0, 50.0]}}
    return replace(loaded[0], predictions=spread)


def answer(metrics: Metrics, answered: list[Observation]) -> None:
    async def tell() -> None:
        for one in answered:
            metrics.observe(one)

    asyncio.run(tell())


def answers(one, *mpg: float) -> dict[str, np.ndarray]:
    return {name: np.array(mpg) for name in one.scorer.outputs}


@given(batches=st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=5), max_size=300))
def test_every_answer_is_counted_once(one, batches):
    metrics = Metrics(ModelStore())

    answer(metrics, [Observation(one, "v1", 200, 0.004, answers(one, *rows)) for rows in batches])

    figures = read(metrics)
    values = [value for rows in batches for value in rows]
    asked = figures.get("roadworthy_requests_total", {}).get(("fuel", "v1", "200", "1"), 0)
    assert asked == len(batches)
    if batches:
        assert figures["roadworthy_request_seconds_count"]["fuel", "1"] == len(batches)
        assert figures["roadworthy_prediction_count"]["fuel", "mpg", "1"] == len(values)
        assert figures["roadworthy_prediction_sum"]["fuel", "mpg", "1"] == pytest.approx(
            sum(values)
        )
        for edge in (10.0, 20.0, 30.0, 50.0):
            below = figures["roadworthy_prediction_bucket"][str(edge), "fuel", "mpg", "1"]
            assert below == sum(value <= edge for value in values)


def test_versions_with_different_bounds_are_one_family(one, loaded):
    metrics = Metrics(ModelStore())
    other = replace(loaded[1], predictions={"mpg": {"edges": [15.0]}})

    answer(metrics, [Observation(v, "v1", 200, 0.1, answers(v, 12.0)) for v in (one, other)])

    buckets = read(metrics)["roadworthy_prediction_bucket"]
    assert buckets["15.0", "fuel", "mpg", "2"] == 1
    assert ("15.0", "fuel", "mpg", "1") not in buckets
    assert asyncio.run(metrics.text()).count(b"# TYPE roadworthy_prediction histogram") == 1


def test_compared_answers_are_observed_and_so_is_their_difference(one, loaded):
    metrics = Metrics(ModelStore())

    theirs, ours = answers(one, 20.0, 40.0, 0.0, 0.0), answers(one, 22.0, 40.0, 0.0, 1.0)
    metrics.compared(one, {}, theirs=theirs, ours=ours)
    metrics.not_compared(one, "timeout")

    figures = read(metrics)
    assert figures["roadworthy_shadow_total"] == {
        ("1", "fuel", "compared"): 1,
        ("1", "fuel", "timeout"): 1,
    }
    by_role = figures["roadworthy_shadow_prediction_sum"]
    assert by_role["1", "fuel", "mpg", "champion"] == 60
    assert by_role["1", "fuel", "mpg", "challenger"] == 63
    # 10 %, none, none of two zeros; what has no relative difference counts as the last bound
    assert figures["roadworthy_shadow_difference_sum"]["1", "fuel", "mpg"] == pytest.approx(3.1)


def test_a_tolerance_of_the_model_makes_a_difference_from_zero_finite(one):
    manifest = replace(one.manifest, tolerance={"mpg": {"relative": 0.1, "absolute": 0.5}})
    metrics = Metrics(ModelStore())

    metrics.compared(
        replace(one, manifest=manifest), {}, theirs=answers(one, 0.0), ours=answers(one, 0.5)
    )

    figures = read(metrics)
    assert figures["roadworthy_shadow_difference_sum"]["1", "fuel", "mpg"] == pytest.approx(0.1)


def test_labels_and_booleans_are_counted_by_label_and_lists_by_element(one, monkeypatch):
    monkeypatch.setattr(one.scorer, "outputs", ["label", "alarm", "bars"])
    theirs = {
        "label": np.array(["up", "down", "up"], object),
        "alarm": np.array([True, False, False]),
        "bars": ragged([np.array([1.0, 2.0]), np.array([3.0]), np.array([0.0])]),
    }
    ours = theirs | {"label": np.array(["up", "up", "up"], object)}
    metrics = Metrics(ModelStore())

    answer(metrics, [Observation(one, "v1", 200, 0.1, found) for found in (theirs, ours)])
    metrics.compared(one, {}, theirs=theirs, ours=ours)

    figures = read(metrics)
    labels = figures["roadworthy_prediction_labels_total"]
    assert labels["up", "fuel", "label", "1"] == 5
    assert labels["false", "fuel", "alarm", "1"] == 4
    assert figures["roadworthy_prediction_count"]["fuel", "bars", "1"] == 8
    by_role = figures["roadworthy_shadow_labels_total"]
    assert by_role["1", "up", "fuel", "label", "challenger"] == 3
    assert by_role["1", "up", "fuel", "label", "champion"] == 2
    differences = figures["roadworthy_shadow_difference_sum"]
    assert {output: found for (_, _, output), found in differences.items()} == {
        "label": 1,
        "alarm": 0,
        "bars": 0,
    }


def test_loaded_versions_have_role_weight_and_age(loaded):
    store = ModelStore()
    metrics = Metrics(store)

    store.put(ModelVersions("fuel", *loaded, weight=10))

    figures = read(metrics)
    assert figures["roadworthy_version"] == {
        ("fuel", "champion", "1"): 1,
        ("fuel", "challenger", "2"): 1,
    }
    assert figures["roadworthy_traffic_weight"] == {("fuel", "1"): 90, ("fuel", "2"): 10}
    assert figures["roadworthy_version_age_seconds"]["fuel", "champion", "1"] > 0


_PROCESS = """
import asyncio, sys
import numpy as np
from types import SimpleNamespace
from roadworthy.serving.models.model_store import ModelStore
from roadworthy.serving.models.metrics import Observation, Metrics

class Version:
    version = 1
    manifest = SimpleNamespace(model="m")
    scorer = SimpleNamespace(outputs=["y"])
    predictions = {"y": {"edges": [1.0, 2.0]}}

async def answer():
    metrics = Metrics(ModelStore())
    for _ in range(int(sys.argv[1])):
        metrics.observe(Observation(Version, "v1", 200, 0.1, {"y": np.array([1.5])}))
    sys.stdout.buffer.write(await metrics.text())

asyncio.run(answer())
"""


def test_the_metrics_of_several_processes_are_added_up(tmp_path):
    def answered(count: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", _PROCESS, str(count)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    answered(3)
    text = answered(4)

    labels = 'model="m",protocol="v1",status="200",version="1"'
    assert f"roadworthy_requests_total{{{labels}}} 7.0" in text
    assert 'roadworthy_prediction_bucket{le="2.0",model="m",output="y",version="1"} 7.0' in text
