"""Training, evaluation and the gate hand on files; every candidate is recorded once."""

import importlib
import json

import pandas as pd
import pytest

from roadworthy.bundles import bundle, releases
from roadworthy.models import fuel
from roadworthy.steps import training as training_files
from roadworthy.steps.evaluate import evaluate
from roadworthy.steps.gate import _champion as champion_scores
from roadworthy.steps.gate import gate
from roadworthy.steps.prepare import prepare_raw
from roadworthy.steps.train import train
from tests.conftest import COMMIT, DATA_HASH


def test_training_and_evaluation_make_the_bundle(rows, packed, tmp_path):
    found = [train("fuel", rows / "train", target=tmp_path / name) for name in ("trained", "again")]

    assert found[0] == found[1] == training_files.read(tmp_path / "trained")
    assert list(found[0].candidates) == [candidate.name for candidate in fuel.candidates]
    assert found[0].parameters == dict(packed.manifest.parameters)
    assert "cv_heavier_is_thriftier" in found[0].candidates[found[0].candidate].metrics
    assert str(found[0]).startswith(f"{found[0].candidate} of 3 candidates, cv_r2 0.8")

    examined = evaluate(
        "fuel",
        trained=tmp_path / "trained",
        train=rows / "train",
        test=rows / "test",
        commit=COMMIT,
        data_hash=DATA_HASH,
        target=tmp_path / "bundle",
    )

    assert examined.digest == packed.digest
    assert bundle.read(tmp_path / "bundle", packed.digest)
    assert set(examined.figures) == {"actual-against-predicted", "residuals"}
    assert json.loads(json.dumps(examined.to_dict()))["digest"] == packed.digest
    assert str(examined).endswith(f"bundle {packed.digest[:12]}")


def test_a_classification_has_a_confusion_matrix(installed_models, tmp_path):
    ripeness = importlib.import_module("ripeness")
    ripeness.generate(tmp_path / "raw.csv")
    files = {name: tmp_path / name for name in ("train", "test")}
    counts = prepare_raw("ripeness", tmp_path / "raw.csv", **files)
    train("ripeness", files["train"], target=tmp_path / "trained")
    made_of = {"commit": COMMIT, "data_hash": DATA_HASH, "target": tmp_path / "bundle"}

    found = evaluate("ripeness", trained=tmp_path / "trained", **files, **made_of)

    assert found.confusion.classes == ["ripe", "unripe"]
    (right, wrong), (other, good) = found.confusion.counts
    assert right + wrong + other + good == counts.test
    share = (right + good) / counts.test
    assert share == pytest.approx(found.evaluation.metrics["accuracy"])


def test_the_gate_lets_the_chosen_candidate_pass_before_the_first_release(settings, packed, rows):
    verdict = gate(settings, "fuel", packed=packed.path, test=rows / "test", champion=0)

    assert verdict.passed, verdict.reasons
    names = [check.name for check in verdict.checks]
    assert any(name.startswith("onnx_parity of ") for name in names)
    assert "latency" in names
    assert "r2_with_margin" not in names


def test_the_gate_names_what_the_simple_candidate_lacks(settings, simple, rows):
    verdict = gate(settings, "fuel", packed=simple.path, test=rows / "test", champion=0)

    assert not verdict.passed
    assert any(reason.startswith("cv_r2 is 0.85") for reason in verdict.reasons)


def test_the_gate_scores_the_champion_anew_on_the_same_hold_out(
    released_from, packed, simple, rows
):
    releases.publish(released_from, packed, "fuel-v1")

    same = gate(released_from, "fuel", packed=packed.path, test=rows / "test", champion=1)
    worse = gate(released_from, "fuel", packed=simple.path, test=rows / "test", champion=1)

    assert same.passed, same.reasons
    assert {"mae_mpg of origin=usa", "mae_mpg of origin=japan"} <= {c.name for c in same.checks}
    assert any(reason.startswith("r2_with_margin") for reason in worse.reasons)


def test_a_champion_that_asks_for_other_fields_is_not_compared(packed, rows):
    # given a champion, and a hold-out in which a field has another name since
    renamed = pd.read_parquet(rows / "test").rename(columns={"weight_kg": "mass_kg"})
    # when it is asked for its scores, then there are none, and a sentence says why
    scores, note = champion_scores(fuel, packed, 1, renamed)
    assert scores is None
    assert note == "not compared with version 1, which asks for weight_kg"
