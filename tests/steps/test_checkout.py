"""Checkout fetches the data and says whether anything is new."""

import pytest

from roadworthy.data.git import GitError
from roadworthy.registry import Registry
from roadworthy.steps.checkout import checkout


@pytest.fixture
def call(released_from, tmp_path):
    def run(commit="", force=False):
        return checkout(released_from, "fuel", commit=commit, force=force, raw=tmp_path / "d/raw")

    return run


def test_without_a_champion_everything_is_new(call, root, tmp_path):
    source = call()

    assert source.new
    assert source.champion == 0
    assert len(source.commit) == 40
    assert f"md5: {source.data_hash}" in (root / "data.csv.dvc").read_text()
    assert (tmp_path / "d/raw").read_bytes() == (root / "data.csv").read_bytes()
    assert "no champion yet" in str(source)


def test_the_champions_recipe_is_nothing_new_unless_forced(call, released_from):
    source = call()
    registry = Registry(released_from.mlflow_tracking_uri, released_from.mlflow_artifacts)
    run = registry.log_candidate(
        "fuel", name="a", made_of=source.recipe, parameters={}, metrics={}, tags={}, figures={}
    )
    version = registry.register("fuel", run_id=run, digest="d", tags={"recipe": source.recipe})
    assert call().new, "a version that is no champion was not released"
    registry.set_alias(version, "champion")

    again = call(commit=source.commit)

    assert (again.new, again.champion, again.recipe) == (False, 1, source.recipe)
    assert "nothing new since version 1" in str(again)
    assert call(force=True).new


def test_a_commit_that_the_remote_does_not_have_is_a_sentence(call):
    with pytest.raises(GitError, match="has no " + "0" * 40):
        call(commit="0" * 40)
