"""Release, reject, stage, canary, promote, roll back: what each leaves, also twice."""

import json
import os
from dataclasses import replace
from pathlib import Path

import mlflow.onnx
import onnx
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import BundleError
from roadworthy.core.errors import ExitCode
from roadworthy.data import git
from roadworthy.rollout.actions import steering
from roadworthy.rollout.engine import finalising, lease
from roadworthy.rollout.engine.lease import ConflictError
from roadworthy.rollout.engine.state import RolloutError, Stage
from roadworthy.rollout.local import placement
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.routing import routes
from roadworthy.steps import training
from roadworthy.steps.canary import canary
from roadworthy.steps.promote import promote
from roadworthy.steps.reject import reject
from roadworthy.steps.roll_back import roll_back
from roadworthy.steps.stage import stage as load
from roadworthy.tracking.registry import Registry
from tests.steps.conftest import VERDICT


def chosen(registered):
    return registered.runs["support_vectors"]


def stage(registered, number=1):
    """Put a version deployed as the challenger, without a server."""
    bundle_ = bundle.read(registered.packed)
    release = placement.place(registered.settings, bundle_, number)
    champion = routes.read(registered.settings.routing, "fuel").champion
    routes.write(registered.settings.routing, routes.Routing("fuel", champion, release))


def test_a_registered_version_is_the_challenger_and_tells_its_origin(registered, packed):
    tags = registered.tags()

    assert registered.aliases() == ("challenger",)
    assert tags["digest"] == packed.digest
    assert (tags["commit"], tags["data_hash"]) == ("c1", "d1")
    assert (tags["candidate"], tags["source_fingerprint"]) == (
        packed.manifest.candidate,
        "fingerprint-1",
    )
    assert (tags["gate"], tags["gate_reasons"]) == ("passed", "all 1 checks passed")
    assert (tags["trigger"], tags["pipeline_run"]) == ("manual", "run-1")
    artifacts = Path(registered.settings.mlflow_artifacts) / "fuel"
    artifacts /= f"{chosen(registered).info.run_id}/artifacts"
    assert json.loads((artifacts / "gate/run-1.json").read_text())["passed"] is True
    assert (artifacts / "bundles" / packed.digest / bundle.MANIFEST).exists()
    assert (artifacts / "figures/residuals.png").exists()


def test_mlflow_loads_a_version_and_it_answers_as_the_bundle(registered, packed, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.settings.mlflow_tracking_uri)
    requests = pd.DataFrame(packed.golden.requests)
    expected = [answer["l_per_100km"] for answer in packed.golden.answers]

    loaded = mlflow.pyfunc.load_model("models:/fuel@challenger")
    graph = mlflow.onnx.load_model("models:/fuel@challenger")

    known = {name: requests[name] for name in loaded.metadata.signature.inputs.input_names()}
    columns = {
        name: column.fillna("").to_numpy(str) if name == "origin" else column.to_numpy(float)
        for name, column in known.items()
    }
    assert loaded.predict(columns)["l_per_100km"] == pytest.approx(expected, rel=1e-5)
    assert graph.SerializeToString() == onnx.load(packed.path / bundle.MODEL).SerializeToString()
    assert loaded.input_example is not None


def test_registering_again_is_the_same_version(registered, simple):
    assert registered.again().number == 1
    assert registered.again(simple.path).number == 2
    # and no version's address is another's
    client = MlflowClient(registered.settings.mlflow_tracking_uri)
    sources = {client.get_model_version("fuel", str(number)).source for number in (1, 2)}
    assert len(sources) == 2
    assert registered.aliases(1) == ()
    assert registered.aliases(2) == ("challenger",)


def test_a_bundle_that_is_damaged_is_not_registered(candidate, tmp_path):
    with pytest.raises(BundleError):
        candidate.again(tmp_path)

    assert candidate.registry.versions("fuel") == []


def test_a_rejected_candidate_is_no_version_and_its_run_says_why(candidate):
    verdict = VERDICT | {"passed": False, "reasons": ["r2 is 0.5", "mae is 9"]}

    for _ in range(2):
        reject(candidate.settings, candidate.attempt(verdict=verdict), packed=candidate.packed)

    assert candidate.registry.versions("fuel") == []
    tags = chosen(candidate).data.tags
    assert (tags["gate"], tags["gate_reasons"]) == ("failed", "r2 is 0.5; mae is 9")
    assert chosen(candidate).data.metrics == {"cv_r2": 0.89, "r2": 0.87}
    # when it passes later, against another champion, its run says so
    candidate.again()
    assert chosen(candidate).data.tags["gate"] == "passed"
    assert candidate.aliases() == ("challenger",)


def test_a_rejected_candidate_that_was_named_is_a_version_and_is_not_deployed(candidate, packed):
    attempt = candidate.attempt(verdict={"passed": False, "reasons": ["r2 is 0.5"], "checks": []})
    facts = training.read(attempt.trained)
    training.write(attempt.trained, "estimator", replace(facts, named=True), {})

    told = [reject(candidate.settings, attempt, packed=packed.path) for _ in range(2)]

    assert told[0] == told[1]
    assert str(told[0]) == "version 1 is registered, tag fuel-v1, and not deployed"
    assert candidate.aliases() == ()
    assert candidate.tags()["gate"] == "failed"
    with releases.fetch(candidate.settings, "fuel", "fuel-v1") as fetched:
        assert fetched.digest == packed.digest
    # then nobody rolls it out
    target = LocalTarget(candidate.settings)
    with pytest.raises(RolloutError, match=r"refused version 1 of fuel \(r2 is 0.5\)"):
        steering.start(candidate.settings, candidate.registry, target, "fuel", 1, strategy="canary")
    # unless the same bundle passes later
    candidate.again()
    assert (candidate.tags()["gate"], candidate.aliases()) == ("passed", ("challenger",))


def test_every_candidate_is_recorded_once_with_its_parameters_metrics_and_figures(registered):
    registered.again()

    runs = registered.runs
    assert set(runs) == {"polynomial", "support_vectors"}
    other, best = runs["polynomial"].data, runs["support_vectors"].data
    assert (other.params, other.metrics) == ({"degree": "2"}, {"cv_r2": 0.85})
    assert best.params == {"C": "1.0"}
    assert best.metrics["cv_r2"] == 0.89
    assert best.metrics["r2"] > 0.8  # the hold-out of the bundle
    assert (other.tags["chosen"], best.tags["chosen"]) == ("False", "True")
    assert {run.data.tags["commit"] for run in runs.values()} == {"c1"}
    artifacts = Path(registered.settings.mlflow_artifacts) / "fuel"
    assert [file.name for file in artifacts.glob("*/artifacts/figures/fit.png")] == ["fit.png"]
    assert "gate" not in other.tags
    # and MLflow's page has a source, a dataset and a model to show
    for run in runs.values():
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("fuel", "d1")
        assert run.data.tags["mlflow.source.git.commit"] == "c1"
        assert run.data.tags["mlflow.source.name"] == registered.settings.git_remote
    (shown,) = json.loads(best.tags["mlflow.log-model.history"])
    client = MlflowClient(registered.settings.mlflow_tracking_uri)
    assert client.get_model_version("fuel", "1").source.endswith(f"/{shown['artifact_path']}")


def test_a_release_puts_the_bundle_under_the_tag_once(candidate, packed):
    done = candidate.release()

    remote = candidate.settings.git_remote
    assert (done.version, git.tags(remote)) == (1, {"fuel-v1": done.commit})
    with releases.fetch(candidate.settings, "fuel", done.tag) as found:
        assert found.digest == packed.digest
    assert candidate.release() == done


def test_a_tag_is_never_given_to_another_bundle(candidate, packed, simple):
    commit = releases.publish(candidate.settings, simple, "fuel-v1")

    with pytest.raises(git.GitError, match="nothing was overwritten"):
        candidate.release()

    assert git.tags(candidate.settings.git_remote) == {"fuel-v1": commit}


def pass_stages(registered, number=1, run="run-1"):
    """Note that a version has passed every stage, as the verification does."""
    held = lease.hold(
        registered.settings, LocalTarget(registered.settings).records, "fuel", number, run
    )
    held.move("ready")
    held.move("verified")
    for weight in held.rollout.plan:
        held.move("shifting", weight=weight)
        held.put(replace(held.rollout, stages=(*held.rollout.stages, Stage(weight, 1.0))))


def released(registered, number=1):
    """Bring a registered version to its promotion."""
    stage(registered, number)
    pass_stages(registered, number)
    promote(registered.settings, "fuel", version=number, owner="run-1")


def test_a_version_is_rolled_out_verified_and_promoted_on_a_real_server(live, packed):
    load(live.settings, packed=packed.path, version=1, owner="run-1")

    found = canary(live.settings, packed=packed.path, version=1, owner="run-1")

    assert found.good, found.problem
    assert found.golden.requests == 20
    assert (found.rollout.state, found.rollout.stages) == ("verified", ())
    assert str(found) == str(found.golden)
    promote(live.settings, "fuel", version=1, owner="run-1")
    assert routes.read(live.settings.routing, "fuel").champion.version == 1
    assert live.aliases() == ("champion",)


def test_a_version_that_answers_otherwise_is_out_of_service_at_once(live, packed, simple):
    load(live.settings, packed=simple.path, version=1, owner="run-1")

    found = canary(live.settings, packed=packed.path, version=1, owner="run-1")

    assert not found.good
    assert "differs from the one at training time" in str(found)
    assert routes.read(live.settings.routing, "fuel").challenger is None
    roll_back(live.settings, "fuel", version=1, problem=found.problem, owner="run-1")
    assert live.tags()["rolled_back"] == found.problem
    assert json.loads(live.tags()["rollout"])["state"] == "rolled back"


def test_a_version_that_no_server_holds_is_told_to_the_registry(registered, packed):
    settings = registered.settings.model_copy(
        update={"serving_url": "http://127.0.0.1:9", "ready_seconds": 0.3}
    )

    with pytest.raises(RolloutError, match="did not come up") as caught:
        load(settings, packed=packed.path, version=1, owner="run-1")

    assert caught.value.exit_code == ExitCode.FAILED
    assert "did not come up" in registered.tags()["rolled_back"]
    assert registered.aliases() == ()
    assert json.loads(registered.tags()["rollout"])["state"] == "rolled back"
    assert routes.read(settings.routing, "fuel").challenger is None


def test_a_second_release_goes_through_its_stages(live, packed, simple):
    load(live.settings, packed=packed.path, version=1, owner="run-1")
    canary(live.settings, packed=packed.path, version=1, owner="run-1")
    promote(live.settings, "fuel", version=1, owner="run-1")
    live.again(simple.path)
    load(live.settings, packed=simple.path, version=2, owner="run-1")

    found = canary(live.settings, packed=simple.path, version=2, owner="run-1")

    assert found.good, found.problem
    assert [stage.weight for stage in found.rollout.stages] == [0, 10, 50, 100]
    assert all(stage.quiet for stage in found.rollout.stages)
    assert "no live request at 0, 10, 50, 100 %" in str(found)
    assert routes.read(live.settings.routing, "fuel").weight == 100


def test_a_run_whose_rollout_was_taken_over_changes_nothing(registered):
    stage(registered)
    before = routes.read(registered.settings.routing, "fuel")
    for step in (
        lambda: canary(registered.settings, packed=registered.packed, version=1, owner="other"),
        lambda: promote(registered.settings, "fuel", version=1, owner="other"),
        lambda: roll_back(registered.settings, "fuel", version=1, problem="bad", owner="other"),
    ):
        with pytest.raises(ConflictError, match="was taken over: version 1 of fuel is staged"):
            step()
    assert routes.read(registered.settings.routing, "fuel") == before


def test_a_second_rollout_is_refused_and_names_the_first(registered, simple):
    with pytest.raises(ConflictError) as caught:
        registered.again(simple.path, run="run-2")

    told = str(caught.value)
    assert "Version 1 of fuel is being rolled out already, by run-1 on" in told
    assert f"process {os.getpid()}" in told
    assert registered.aliases(1) == ("challenger",)


def test_a_promoted_version_is_the_champion_and_tells_who_when_and_why(registered):
    released(registered)

    tags = registered.tags()
    assert registered.aliases() == ("champion",)
    assert tags["promoted_by"] == "tester"
    assert tags["promoted_why"].startswith("passed the gate and every stage of the rollout in run")
    assert tags["promoted_at"].endswith("+00:00")
    found = routes.read(registered.settings.routing, "fuel")
    assert (found.champion.version, found.challenger) == (1, None)


def test_promoting_again_keeps_the_first_note(registered):
    released(registered)
    before = {**registered.tags(), "rollout": ""}, routes.read(registered.settings.routing, "fuel")

    registered.again()
    released(registered)

    after = {**registered.tags(), "rollout": ""}, routes.read(registered.settings.routing, "fuel")
    assert after == before
    assert registered.aliases() == ("champion",)


def test_what_is_not_verified_is_not_promoted(registered, simple):
    stage(registered)
    with pytest.raises(RolloutError, match="is staged, so it cannot become promoted"):
        promote(registered.settings, "fuel", version=1, owner="run-1")
    assert registered.aliases() == ("challenger",)
    assert "promoted_by" not in registered.tags()

    pass_stages(registered)
    promote(registered.settings, "fuel", version=1, owner="run-1")
    registered.again(simple.path)
    stage(registered, 2)
    held = lease.hold(
        registered.settings, LocalTarget(registered.settings).records, "fuel", 2, "run-1"
    )
    held.move("ready")
    held.move("verified")
    with pytest.raises(RolloutError, match="has not passed the stages at 0 %, 10 %, 50 %, 100 %"):
        promote(registered.settings, "fuel", version=2, owner="run-1")


@pytest.mark.parametrize("step", ["version", "tag", "set_alias", "drop_alias"])
def test_a_promotion_that_dies_is_finished_by_whoever_comes_next(registered, step, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    stage(registered)
    pass_stages(registered)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, die)
        with pytest.raises(Killed):
            promote(registered.settings, "fuel", version=1, owner="run-1")

    settings = registered.settings
    finalising.catch_up(settings, registered.registry, LocalTarget(settings), "fuel")

    assert routes.read(settings.routing, "fuel").champion.version == 1
    assert registered.aliases() == ("champion",)
    assert registered.tags()["promoted_by"] == "tester"


def test_a_version_that_is_rolled_back_says_why_and_the_champion_stays(registered, simple):
    released(registered)
    registered.again(simple.path)
    stage(registered, 2)

    for _ in range(2):
        roll_back(
            registered.settings, "fuel", version=2, problem="an answer differs", owner="run-1"
        )

    assert registered.aliases(1) == ("champion",)
    assert registered.aliases(2) == ()
    assert registered.tags(2)["rolled_back"] == "an answer differs"
    assert not registered.tags(1).get("rolled_back")
    found = routes.read(registered.settings.routing, "fuel")
    assert (found.champion.version, found.challenger) == (1, None)


def test_a_version_that_was_rolled_back_and_is_good_later_is_no_longer_called_bad(registered):
    stage(registered)
    roll_back(registered.settings, "fuel", version=1, problem="the server was old", owner="run-1")
    registered.again()

    released(registered)

    assert registered.tags()["rolled_back"] == ""
    assert registered.aliases() == ("champion",)
