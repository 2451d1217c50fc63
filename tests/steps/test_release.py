"""Register, reject, push, roll out, verify, promote, roll back: what each leaves, also twice."""

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from roadworthy import bundle, road
from roadworthy.bundle import BundleError
from roadworthy.data import git, releases
from roadworthy.registry import Registry
from roadworthy.rollout import local
from roadworthy.rollout.local import RolloutError
from roadworthy.steps.promote import promote
from roadworthy.steps.push import push
from roadworthy.steps.reject import reject
from roadworthy.steps.roll_back import roll_back
from roadworthy.steps.roll_out import roll_out
from roadworthy.steps.verify import verify
from tests.steps.conftest import TAGS


def chosen(registered):
    return registered.runs["support_vectors"]


def stage(registered, number=1):
    """Put a version on the road as the challenger, without a server."""
    bundle_ = bundle.read(registered.packed)
    release = local.place(registered.settings, bundle_, number)
    champion = road.read(registered.settings.road, "fuel").champion
    road.write(registered.settings.road, road.Road("fuel", champion, release))


def test_a_registered_version_is_the_challenger_and_tells_its_origin(registered, packed):
    tags = registered.tags()

    assert registered.aliases() == ("challenger",)
    assert tags["digest"] == packed.digest
    assert (tags["commit"], tags["data_hash"]) == ("c1", "d1")
    assert (tags["candidate"], tags["recipe"]) == (packed.manifest.candidate, "recipe-1")
    assert (tags["gate"], tags["gate_reasons"]) == ("passed", "all 1 checks passed")
    assert (tags["trigger"], tags["pipeline_run"]) == ("manual", "run-1")
    artifacts = Path(registered.settings.mlflow_artifacts) / "fuel"
    artifacts /= f"{chosen(registered).info.run_id}/artifacts"
    assert json.loads((artifacts / "gate/run-1.json").read_text())["passed"] is True
    assert (artifacts / "bundles" / packed.digest / bundle.MANIFEST).exists()
    assert (artifacts / "figures/residuals.png").exists()


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
    verdict = {"passed": False, "reasons": ["r2 is 0.5", "mae is 9"], "checks": []}

    facts = {"recipe": "recipe-1", "verdict": verdict, "tags": TAGS}
    reject(candidate.settings, "fuel", trained=candidate.trained, **facts)
    reject(candidate.settings, "fuel", trained=candidate.trained, **facts)

    assert candidate.registry.versions("fuel") == []
    tags = chosen(candidate).data.tags
    assert (tags["gate"], tags["gate_reasons"]) == ("failed", "r2 is 0.5; mae is 9")
    # when it passes later, against another champion, its run says so
    candidate.again()
    assert chosen(candidate).data.tags["gate"] == "passed"
    assert candidate.aliases() == ("challenger",)


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


def test_a_push_puts_the_bundle_under_the_tag_once(registered, packed):
    settings = registered.settings

    commit = push(settings, packed=packed.path, tag="fuel-v1")

    assert git.tags(settings.git_remote) == {"fuel-v1": commit}
    with releases.fetch(settings, "fuel", "fuel-v1") as found:
        assert found.digest == packed.digest
    assert push(settings, packed=packed.path, tag="fuel-v1") == commit


def test_a_tag_is_never_given_to_another_bundle(registered, packed, simple):
    commit = push(registered.settings, packed=packed.path, tag="fuel-v1")

    with pytest.raises(git.GitError, match="nothing was overwritten"):
        push(registered.settings, packed=simple.path, tag="fuel-v1")

    assert git.tags(registered.settings.git_remote) == {"fuel-v1": commit}


def test_a_version_is_rolled_out_and_verified_on_a_real_server(served_home, packed, simple):
    roll_out(served_home, packed=packed.path, version=21)

    good = verify(served_home, packed=packed.path, version=21)
    bad = verify(served_home, packed=simple.path, version=21)

    assert good.good, good.problem
    assert not bad.good


def test_a_promoted_version_is_the_champion_and_tells_who_when_and_why(registered):
    stage(registered)

    promote(registered.settings, "fuel", version=1, why="it is good")

    tags = registered.tags()
    assert registered.aliases() == ("champion",)
    assert (tags["promoted_by"], tags["promoted_why"]) == ("tester", "it is good")
    assert tags["promoted_at"].endswith("+00:00")
    found = road.read(registered.settings.road, "fuel")
    assert (found.champion.version, found.challenger) == (1, None)


def test_promoting_twice_keeps_the_first_note(registered):
    stage(registered)
    promote(registered.settings, "fuel", version=1, why="first")
    before = registered.tags(), road.read(registered.settings.road, "fuel")

    registered.again()
    stage(registered)
    promote(registered.settings, "fuel", version=1, why="second")

    assert (registered.tags(), road.read(registered.settings.road, "fuel")) == before
    assert registered.aliases() == ("champion",)


def test_what_is_not_staged_is_not_promoted(registered):
    with pytest.raises(RolloutError):
        promote(registered.settings, "fuel", version=1, why="no reason")

    assert registered.aliases() == ("challenger",)
    assert "promoted_by" not in registered.tags()


@pytest.mark.parametrize("step", ["version", "tag", "set_alias", "drop_alias"])
def test_a_promotion_that_dies_has_changed_the_road_first_and_is_finished_by_the_next(
    registered, step, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    stage(registered)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, die)
        with pytest.raises(Killed):
            promote(registered.settings, "fuel", version=1, why="it is good")
    assert road.read(registered.settings.road, "fuel").champion.version == 1

    promote(registered.settings, "fuel", version=1, why="it is good")

    assert registered.aliases() == ("champion",)
    assert registered.tags()["promoted_why"] == "it is good"


def test_a_version_that_is_rolled_back_says_why_and_the_champion_stays(registered, simple):
    stage(registered)
    promote(registered.settings, "fuel", version=1, why="it is good")
    registered.again(simple.path)
    stage(registered, 2)

    for _ in range(2):
        roll_back(registered.settings, "fuel", version=2, problem="an answer differs")

    assert registered.aliases(1) == ("champion",)
    assert registered.aliases(2) == ()
    assert registered.tags(2)["rolled_back"] == "an answer differs"
    assert "rolled_back" not in registered.tags(1) or not registered.tags(1)["rolled_back"]
    found = road.read(registered.settings.road, "fuel")
    assert (found.champion.version, found.challenger) == (1, None)


def test_a_version_that_was_rolled_back_and_is_good_later_is_no_longer_called_bad(registered):
    stage(registered)
    roll_back(registered.settings, "fuel", version=1, problem="the server was old")
    registered.again()
    stage(registered)

    promote(registered.settings, "fuel", version=1, why="it is good")

    assert registered.tags()["rolled_back"] == ""
    assert registered.aliases() == ("champion",)
