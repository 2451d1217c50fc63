"""The settings choose the target, and only a cluster's costs a cluster's client."""

import pytest

from roadworthy.rollout.actions.targets import digests, target
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.tracking.registry import Registry, RegistryError
from tests.loading import loaded_by


@pytest.fixture
def registry(settings):
    found = Registry.of(settings)
    run = found.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    found.register("fuel", run_id=run, digest="a" * 64, tags={})
    return found


def test_the_server_of_this_machine_is_the_default(settings):
    assert isinstance(target(settings), LocalTarget)


def test_it_imports_no_client_of_a_cluster_and_no_registry():
    found = loaded_by("import roadworthy.rollout.actions.targets")

    assert "roadworthy.rollout.local.local_target" in found
    assert not found & {
        "kubernetes",
        "mlflow",
        "roadworthy.tracking.registry",
        "roadworthy.rollout.kserve.kserve_target",
    }


def test_a_digest_comes_from_the_registry_which_is_opened_when_one_is_asked_for(
    settings, registry, monkeypatch
):
    opened = []
    real = Registry.of.__func__
    monkeypatch.setattr(
        Registry, "of", classmethod(lambda cls, of: opened.append(of) or real(cls, of))
    )
    digest = digests(settings)
    assert opened == []

    assert [digest("fuel", 1), digest("fuel", 1)] == ["a" * 64] * 2

    assert len(opened) == 1
    assert digests(settings, registry)("fuel", 1) == "a" * 64
    assert len(opened) == 1
    with pytest.raises(RegistryError, match="no version 2"):
        digest("fuel", 2)


def test_a_version_without_a_digest_is_told(settings, registry):
    registry.tag(registry.version("fuel", 1), {"digest": ""})

    with pytest.raises(RolloutError, match="Version 1 of fuel has no tag `digest`"):
        digests(settings, registry)("fuel", 1)
