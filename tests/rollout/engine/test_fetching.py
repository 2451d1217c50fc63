"""What a cluster goes back to is in the store before it is told. The rest is told with KServe."""

import pytest

from roadworthy.bundles import releases, stores
from roadworthy.bundles.bundle import BundleError
from roadworthy.rollout.engine.fetching import stored


def test_what_the_store_has_is_asked_of_no_remote(released_from, packed):
    stores.publish(released_from.bundle_store, packed)

    with stored(released_from, "fuel", 1, packed.digest) as found:
        assert (found.digest, found.golden) == (packed.digest, packed.golden)


def test_what_the_store_has_not_comes_from_the_release(released_from, packed, tmp_path):
    releases.publish(released_from, packed, "fuel-v1")

    with stored(released_from, "fuel", 1, packed.digest) as found:
        assert found.digest == packed.digest

    kept = stores.fetch(released_from.bundle_store, "fuel", packed.digest, tmp_path / "copy")
    assert kept.graph == packed.graph


def test_a_release_of_another_bundle_is_not_put_back(released_from, packed, simple):
    releases.publish(released_from, packed, "fuel-v1")

    with (
        pytest.raises(BundleError, match="Use the registry that made the release"),
        stored(released_from, "fuel", 1, simple.digest),
    ):
        pytest.fail("it was given")
