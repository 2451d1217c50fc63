"""A release is in the DVC remote before Git names it, is there once, and comes back equal."""

import pytest

from roadworthy.bundles import bundle, releases
from roadworthy.data import dvc, git

POINTER = "bundles/fuel.dvc"


@pytest.fixture
def one(publish, make_bundle):
    """A bundle to release, and a remote to release it to."""
    publish()
    return make_bundle("one")


def objects(settings):
    return sorted(file for file in (settings.home.parent / "store").rglob("*") if file.is_file())


def test_a_release_comes_back_equal(settings, one):
    releases.publish(settings, one, "fuel-v1")

    with releases.fetch(settings, "fuel", "fuel-v1") as fetched:
        assert fetched.digest == one.digest
        assert fetched.manifest == one.manifest
        assert fetched.graph == one.graph
        place = fetched.path
    assert not place.exists()


def test_a_release_is_saved_whole_and_never_over_something(settings, one, tmp_path):
    # given a release
    releases.publish(settings, one, "fuel-v1")
    target = tmp_path / "new" / "place"
    # when it is saved, then it is there, alone
    assert releases.save(settings, "fuel", "fuel-v1", target).digest == one.digest
    assert [path.name for path in target.parent.iterdir()] == ["place"]
    # when it is saved there again, then that is refused
    with pytest.raises(bundle.BundleError, match="exists"):
        releases.save(settings, "fuel", "fuel-v1", target)


def test_twice_is_once(settings, one, bare):
    first = releases.publish(settings, one, "fuel-v1")
    before = bare.snapshot(), objects(settings)

    again = releases.publish(settings, one, "fuel-v1")

    assert again == first
    assert (bare.snapshot(), objects(settings)) == before


def test_a_bundle_that_another_run_releases_at_the_same_time_is_released_once(
    settings, one, monkeypatch
):
    # given another run that is faster by a moment
    first, release = [], git.release

    def late(*arguments, **named):
        monkeypatch.setattr(git, "release", release)
        first.append(releases.publish(settings, one, "fuel-v1"))
        return release(*arguments, **named)

    monkeypatch.setattr(git, "release", late)

    assert releases.publish(settings, one, "fuel-v1") == first[0]


def test_each_release_keeps_its_own_bundle(settings, one, make_bundle):
    two = make_bundle("two")

    releases.publish(settings, one, "fuel-v1")
    releases.publish(settings, two, "fuel-v2")

    for tag, expected in (("fuel-v1", one), ("fuel-v2", two)):
        with releases.fetch(settings, "fuel", tag) as fetched:
            assert fetched.digest == expected.digest


def test_a_tag_of_another_bundle_is_refused(settings, one, make_bundle, bare):
    releases.publish(settings, one, "fuel-v1")
    before = bare.snapshot()

    with pytest.raises(git.GitError, match="names another bundle than version 1"):
        releases.publish(settings, make_bundle("two"), "fuel-v1")

    assert bare.snapshot() == before


def test_when_git_refuses_the_objects_are_there_and_running_again_ends_well(
    settings, one, bare, hook
):
    tip = bare.git("rev-parse", "main")
    hook(bare.root / "hooks", "pre-receive", "echo Closed today; exit 1")

    with pytest.raises(git.GitError, match=r"refuses the release fuel-v1 \(Closed today\)"):
        releases.publish(settings, one, "fuel-v1")

    assert bare.git("rev-parse", "main") == tip
    assert git.tags(settings.git_remote) == {}
    kept = objects(settings)
    assert len(kept) == 4  # two files, the manifest and the directory

    (bare.root / "hooks" / "pre-receive").unlink()
    releases.publish(settings, one, "fuel-v1")
    assert objects(settings) == kept
    assert set(git.tags(settings.git_remote)) == {"fuel-v1"}


def test_when_dvc_refuses_git_is_untouched(settings, one, bare, tmp_path):
    (tmp_path / "store").write_text("a file where a directory is needed")
    before = bare.snapshot()

    with pytest.raises(dvc.DvcError, match=r"could not push bundles/fuel\.dvc"):
        releases.publish(settings, one, "fuel-v1")

    assert bare.snapshot() == before


def test_a_bundle_of_which_dvc_ignores_a_part_is_not_released(settings, person, publish, one, bare):
    person.put(".dvcignore", "*.png\n")
    person.commit()
    publish()

    with pytest.raises(dvc.DvcError, match=r"took 2 of the 3 files.*\.dvcignore"):
        releases.publish(settings, one, "fuel-v1")

    assert git.tags(settings.git_remote) == {}


def test_a_missing_release_is_told(settings, one):
    with (
        pytest.raises(git.GitError, match="has no fuel-v7"),
        releases.fetch(settings, "fuel", "fuel-v7"),
    ):
        pytest.fail("there is no such release")


def test_a_bundle_that_the_tag_does_not_name_is_refused(settings, one, bare):
    # given a tag on the right commit whose message names another bundle
    commit = releases.publish(settings, one, "fuel-v1")
    bare.git("tag", "--annotate", "fuel-v2", commit, "-m", "bundle " + "0" * 64)

    with (
        pytest.raises(bundle.BundleError, match="which the tag does not name"),
        releases.fetch(settings, "fuel", "fuel-v2"),
    ):
        pytest.fail("the tag names another bundle")
