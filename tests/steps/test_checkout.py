"""Checkout says what a run is made of, and whether anything is new."""

import hashlib
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from roadworthy.data.git import GitError, git
from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.lease import ConflictError
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.local.local_records import LocalRecords
from roadworthy.steps.checkout import OlderCommitError, checkout
from roadworthy.tracking.registry import Registry
from roadworthy.training.selection import NoCandidateError
from tests.candidate import CANDIDATE
from tests.conftest import SAMPLE


@pytest.fixture
def call(released_from):
    def run(commit="", force=False, **more):
        return checkout(released_from, "fuel", commit=commit, force=force, **more)

    return run


def test_without_a_champion_everything_is_new(call):
    source = call()

    assert source.new
    assert source.champion == 0
    assert len(source.commit) == 40
    data = hashlib.md5(SAMPLE.read_bytes(), usedforsecurity=False)
    assert source.data_hash == data.hexdigest()
    assert "no champion yet" in str(source)


def test_the_champions_source_is_nothing_new_unless_forced(call, released_from):
    source = call()
    registry = Registry(released_from.mlflow_tracking_uri, released_from.mlflow_artifacts)
    run = registry.log_candidate(
        "fuel", name="a", made_of=source.fingerprint, parameters={}, metrics={}, tags={}, figures={}
    )
    version = registry.register(
        "fuel", run_id=run, digest="d", tags={"source_fingerprint": source.fingerprint}
    )
    assert call().new, "a version that is no champion was not released"
    registry.set_alias(version, "champion")

    again = call(commit=source.commit)

    assert (again.new, again.champion, again.source) == (False, 1, source.source)
    assert "nothing new since version 1" in str(again)
    assert call(force=True).new


def test_an_alias_that_was_moved_by_hand_is_a_conflict(call, released_from):
    # given version 2 deployed, and an alias that names version 1
    records = LocalRecords(released_from)
    record.change(records, "fuel", lambda now: replace(now, champion=2))
    registry = Registry(released_from.mlflow_tracking_uri, released_from.mlflow_artifacts)
    run = registry.log_candidate(
        "fuel", name="a", made_of="m", parameters={}, metrics={}, tags={}, figures={}
    )
    registry.set_alias(registry.register("fuel", run_id=run, digest="d", tags={}), "champion")

    with pytest.raises(ConflictError, match="names version 1 of fuel, but version 2 is deployed"):
        call()


def test_a_strategy_that_the_place_cannot_do_is_refused_before_anything_is_trained(call):
    with pytest.raises(RolloutError, match="use `--strategy canary`"):
        call(strategy="rolling")


def test_a_commit_without_the_champions_is_told_and_refused_where_settings_say_so(
    call, released_from
):
    # given a champion that was made of a commit after the tip, which another branch has
    remote, tip = Path(released_from.git_remote), call().commit
    newer = git("commit-tree", "HEAD^{tree}", "-p", tip, "-m", "newer", cwd=remote)
    git("update-ref", "refs/heads/other", newer, cwd=remote)
    registry = Registry(released_from.mlflow_tracking_uri, released_from.mlflow_artifacts)
    run = registry.log_candidate("fuel", **CANDIDATE)
    version = registry.register("fuel", run_id=run, digest="d", tags={"commit": newer})
    registry.set_alias(version, "champion")

    behind = f"commit {tip[:12]} is older than {newer[:12]}, which the champion is made of"
    assert call().behind == behind
    assert str(call()).endswith(f"; {behind}")
    assert call(commit=newer).behind == ""
    beside = git("commit-tree", "HEAD^{tree}", "-p", tip, "-m", "beside", cwd=remote)
    git("update-ref", "refs/heads/beside", beside, cwd=remote)
    assert f"is not based on {newer[:12]}" in call(commit=beside).behind
    refusing = released_from.model_copy(update={"older_commit": "refuse"})
    with pytest.raises(OlderCommitError, match="ROADWORTHY_OLDER_COMMIT refuses that"):
        checkout(refusing, "fuel", commit="", force=False)


def test_a_candidate_that_is_named_must_be_known_and_is_new(call, released_from):
    with pytest.raises(NoCandidateError, match="no candidate 'forest': name one of polynomial"):
        call(candidate="forest")
    assert call(candidate="ridge").new


def test_a_commit_that_the_remote_does_not_have_is_a_sentence(call):
    with pytest.raises(GitError, match="has no " + "0" * 40):
        call(commit="0" * 40)


def test_an_image_takes_newer_data_but_no_other_code(call, released_from, tmp_path):
    # given the branch's tip with a change of the code, and one of something else, after an image's
    first = call().commit
    work = tmp_path / "work"
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    run(["git", "clone", "--quiet", released_from.git_remote, work])

    def pushed(path):
        (work / path).write_text("changed\n")
        who = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
        run(["git", "add", "--all"], cwd=work)
        run(["git", *who, "commit", "--quiet", "--message=Change"], cwd=work)
        run(["git", "push", "--quiet"], cwd=work)

    image = released_from.model_copy(update={"commit": first})
    # when something else changed
    pushed("README.md")
    source = checkout(image, "fuel", commit="", force=False)
    # then the tip is run
    assert source.commit != first
    # and when the code changed, it is told
    pushed("src/a.py")
    with pytest.raises(GitError, match=f"not that of this image.*built from {first[:12]}.*submit"):
        checkout(image, "fuel", commit="", force=False)
    # and an image of a commit that nobody else has
    image = released_from.model_copy(update={"commit": "0f" * 20})
    with pytest.raises(GitError, match="built from commit 0f0f0f0f0f0f, which the Git remote does"):
        checkout(image, "fuel", commit="", force=False)
