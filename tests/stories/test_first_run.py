"""A new user's first hour: run, look, run again, ask where an answer came from."""

import json
from pathlib import Path

import httpx
import joblib
import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.packing import serialize
from roadworthy.models import fuel
from tests.ports import free_port

from .conftest import FirstRun, Workplace, git

pytestmark = [pytest.mark.story, pytest.mark.slow]


def test_first_run_releases_and_says_so(released: Workplace) -> None:
    # given a clone after its first run, when its report is read
    report = released.report()
    # then it released, every step is there with its time, and the page stands beside it
    assert report["outcome"] == "released"
    steps = [step["step"] for step in report["steps"]]
    assert steps == [
        *("checkout", "prepare", "train", "evaluate", "gate"),
        *("release", "stage", "canary", "promote"),
    ]
    assert all(step["state"] == "done" and step["seconds"] >= 0 for step in report["steps"])
    checks = next(step for step in report["steps"] if step["step"] == "gate")["details"]["checks"]
    assert all({"name", "limit", "value", "passed"} <= set(check) for check in checks)
    page = (released.runs()[0] / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2


def test_nothing_is_said_by_the_engine(first_run: FirstRun) -> None:
    # given a first run with an untracked file in the work tree
    # then there is one line a step and none of KFP's, and the file is warned of
    assert "notes.txt" in first_run.stderr
    assert "KFP" not in first_run.stdout
    assert "executor" not in first_run.stdout
    lines = [line for line in first_run.stdout.splitlines() if line.startswith("✓")]
    assert len(lines) == 10
    # and branch, work tree, index and configuration are as they were
    assert first_run.after == first_run.before


def test_a_second_run_has_nothing_new(released: Workplace) -> None:
    again = released.roadworthy("run", "fuel")
    assert again.returncode == 0
    assert "nothing new" in again.stdout.lower()
    assert len(released.json("models")) == 1
    assert released.remote("tag") == "fuel-v1"


def test_where_a_version_came_from(released: Workplace) -> None:
    origin = released.json("lineage", "fuel")
    assert origin["version"] == 1
    assert origin["aliases"] == ["champion"]
    assert origin["commit"] == released.git("rev-parse", "HEAD")
    assert origin["data_hash"] in (released.path / "data.csv.dvc").read_text()
    assert origin["metrics"]["cv_r2"] >= 0.885
    assert origin["gate"] == "passed"
    assert origin["promoted_by"]
    assert origin["promoted_at"]
    (promoted,) = released.json("history", "fuel")
    assert (promoted["event"], promoted["version"]) == ("promoted", 1)
    assert (promoted["at"], promoted["by"]) == (origin["promoted_at"], origin["promoted_by"])
    assert promoted["gate"] == origin["gate_reasons"]
    # the tag names a commit that holds the bundle's pointer
    assert "bundles/fuel.dvc" in released.remote("ls-tree", "-r", "--name-only", "fuel-v1")
    assert origin["bundle"] in released.remote("tag", "--list", "--format=%(contents)", "fuel-v1")
    unknown = released.roadworthy("lineage", "fuel:7")
    assert unknown.returncode == 1
    assert "There is no version 7" in unknown.stderr


def test_a_release_is_made_again_byte_for_byte(released: Workplace) -> None:
    made = released.json("reproduce", "fuel:1")
    assert made["same"], made["differences"]
    assert made["expected"] == released.json("lineage", "fuel:1")["bundle"]


def test_a_candidate_that_is_named_is_registered_though_the_gate_refuses_it(
    released: Workplace,
) -> None:
    # given a champion, when a candidate is named that is worse than it
    done = released.roadworthy("run", "fuel", "--candidate", "polynomial")
    # then the gate says no, and it is a version all the same, and the champion stays
    assert done.returncode == 3, done.stdout + done.stderr
    assert "version 2 is registered, tag fuel-v2, and not deployed" in done.stdout
    named, champion = released.json("models")
    assert (named["version"], named["candidate"], named["aliases"]) == (2, "polynomial", [])
    assert (champion["version"], champion["aliases"]) == (1, ["champion"])
    # and it is made again as it was named
    assert released.json("reproduce", "fuel:2")["same"]


def test_pipeline_and_package_give_the_same_estimator(released: Workplace, halves) -> None:
    # given the bundle that the compiled pipeline made
    digest = released.json("lineage", "fuel")["bundle"]
    made = bundle.read(released.path / ".roadworthy" / "bundles" / digest)
    # when the same candidate is trained with the package, as the notebook does
    candidate = next(c for c in fuel.candidates if c.name == made.manifest.candidate)
    estimator = fuel.train(candidate, halves.train)
    # then both are the same to the last bit, and answer alike
    assert serialize(estimator) == (made.path / bundle.ESTIMATOR).read_bytes()
    loaded = joblib.load(made.path / bundle.ESTIMATOR)
    assert loaded.predict(halves.test).equals(estimator.predict(halves.test))


def test_served_answers_agree_with_the_estimator(released: Workplace, halves) -> None:
    digest = released.json("lineage", "fuel")["bundle"]
    made = bundle.read(released.path / ".roadworthy" / "bundles" / digest)
    with released.serving() as url:
        body = {"instances": made.golden.requests}
        answers = httpx.post(f"{url}/v1/models/fuel:predict", json=body).json()["predictions"]
    for answer, expected in zip(answers, made.golden.answers, strict=True):
        assert answer == pytest.approx(expected, rel=1e-5)


def test_sample_request_and_three_things_to_try(released: Workplace) -> None:
    done = released.roadworthy("up", "fuel", "--once", "--port", str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"l_per_100km"' in done.stdout
    assert all(f"  {number}. " in done.stdout for number in (1, 2, 3))


def test_one_models_failure_leaves_the_others_served(released: Workplace, tmp_path: Path) -> None:
    # given another model, of an installed package, that has no pipeline
    installed = tmp_path / "installed"
    (installed / "tides-1.dist-info").mkdir(parents=True)
    (installed / "tides-1.dist-info" / "METADATA").write_text("Name: tides\nVersion: 1\n")
    points = "[roadworthy.models]\ntides = tides\n"
    (installed / "tides-1.dist-info" / "entry_points.txt").write_text(points)
    (installed / "tides.py").write_text('name, data = "tides", "tides.dvc"\n')
    arguments = ("up", "tides", "fuel", "--once", "--port", str(free_port()))
    # when both are served
    done = released.roadworthy(*arguments, PYTHONPATH=str(installed))
    # then the failure is told, and the other model answers
    assert done.returncode == 1
    assert "has no pipelines/tides.yaml" in done.stderr
    assert "not served: tides" in done.stderr
    assert '"l_per_100km"' in done.stdout


def test_no_clone_and_no_commit(tmp_path: Path) -> None:
    place = Workplace(tmp_path, {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    done = place.roadworthy("run", "fuel")
    assert done.returncode == 1
    assert "not in a Git repository" in done.stderr
    assert "Traceback" not in done.stderr
    git(tmp_path, "init", "--quiet")
    done = place.roadworthy("run", "fuel")
    assert done.returncode == 1
    assert "no commit yet" in done.stderr


def test_unknown_model_and_empty_registry(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    done = place.roadworthy("run", "boats")
    assert done.returncode == 2
    assert "There is no model 'boats'" in done.stderr
    done = place.roadworthy("models")
    assert done.returncode == 0
    assert "There is no version yet of fuel" in done.stdout
    assert json.loads(place.roadworthy("models", "--json").stdout) == []
