"""A routing file that is lost comes back from the registry; one that is whole asks nobody."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from roadworthy.bundles import bundle, releases
from roadworthy.core.errors import RoadworthyError
from roadworthy.models import contract
from roadworthy.rollout.engine import lease
from roadworthy.rollout.local import local_target, placement, restoration
from roadworthy.rollout.local.local_records import LocalRecords
from roadworthy.rollout.local.restoration import restore
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking import registry
from roadworthy.tracking.registry import Registry, RegistryError

PROMOTED_AT = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def released(released_from, packed):
    """A home where version 1 is released, and the routing file was lost."""
    found = Registry(released_from.mlflow_tracking_uri, released_from.mlflow_artifacts)
    run = found.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    tags = {"promoted_at": PROMOTED_AT}
    version = found.register("fuel", run_id=run, digest=packed.digest, tags=tags)
    releases.publish(released_from, packed, version.git_tag)
    found.set_alias(version, "champion")
    return released_from


@pytest.fixture
def no_registry(monkeypatch):
    """Make it an error to ask the registry."""

    def asked(*arguments):
        pytest.fail("the registry was asked")

    monkeypatch.setattr(registry, "Registry", asked)


def begin(settings):
    return lease.begin(
        *(settings, LocalRecords(settings), "fuel", 2),
        champion=1,
        strategy="canary",
        owner="run-1",
        why="",
    )


def test_a_routing_file_that_was_deleted_or_damaged_is_written_anew(released, packed):
    told = list(restore(released))

    assert told == ["Put fuel version 1 in service again, from the registry."]
    found = routes.read(released.routing, "fuel")
    assert (found.champion.version, found.champion.digest) == (1, packed.digest)
    assert found.champion.since == PROMOTED_AT
    assert bundle.read(Path(found.champion.bundle), packed.digest)
    assert found.challenger is None

    (released.routing / "fuel.json").write_text('{"model": "fuel", "champ')
    assert list(restore(released)) == told
    assert routes.read(released.routing, "fuel") == found

    (Path(found.champion.bundle) / bundle.MODEL).write_bytes(b"damaged")
    assert list(restore(released)) == told
    assert bundle.read(Path(found.champion.bundle), packed.digest)

    shutil.rmtree(released.bundles)
    assert list(restore(released)) == told


@pytest.mark.parametrize("by", ["the server's start", "a rollout"])
def test_what_a_run_writes_while_a_champion_is_fetched_stays(released, simple, monkeypatch, by):
    # given a lost routing file, which a run writes while its champion is fetched
    written = Routing("fuel", champion=placement.place(released, simple, 7))
    module = restoration if by == "the server's start" else local_target

    def placed(settings, version):
        with FileLock(released.routing / ".fuel.lock", timeout=0):  # nobody holds it meanwhile
            routes.write(released.routing, written)
        return placement.placed(settings, version)

    released.routing.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(module, "placed", placed)
    # when it is put back
    if by == "a rollout":
        local_target.LocalTarget(released).roll_back(begin(released).rollout.back("it was bad"))
    else:
        assert list(restore(released)) == []
    # then what the run wrote stays
    assert routes.read(released.routing, "fuel") == written


def test_a_rollout_comes_back_with_its_split(released, simple):
    # given a rollout of version 2 at 50 %
    found = Registry.of(released)
    run = found.aliased("fuel", "champion").run_id
    version = found.register("fuel", run_id=run, digest=simple.digest, tags={})
    releases.publish(released, simple, version.git_tag)
    held = begin(released)
    for state in ("ready", "verified"):
        held.move(state)
    held.move("shifting", weight=50)
    # when the routing file and the bundles are lost, and the server starts
    told = list(restore(released))
    # then it is as it was
    assert "version 2 of fuel is shifting at 50 %" in told[1]
    now = routes.read(released.routing, "fuel")
    assert (now.champion.version, now.challenger.version) == (1, 2)
    assert (now.weight, now.shadow, now.state) == (50, True, "shifting")
    assert now.challenger.digest == simple.digest
    # and so it is when only the challenger's bundle was damaged
    (Path(now.challenger.bundle) / bundle.MODEL).write_bytes(b"damaged")
    assert list(restore(released)) == told
    assert routes.read(released.routing, "fuel").weight == 50


@pytest.mark.parametrize("left", [None, '{"model": "fu'])
def test_a_rollout_whose_routing_file_is_lost_ends_with_the_champion_on_it(released, simple, left):
    # given a rollout at 50 % whose routing file somebody deleted or damaged
    found = Registry.of(released)
    run = found.aliased("fuel", "champion").run_id
    found.register("fuel", run_id=run, digest=simple.digest, tags={})
    held = begin(released)
    if left is not None:
        released.routing.mkdir(parents=True, exist_ok=True)
        (released.routing / "fuel.json").write_text(left)
    # when it is rolled back
    local_target.LocalTarget(released).roll_back(held.rollout.back("it was bad"))
    # then the champion alone is deployed
    now = routes.read(released.routing, "fuel")
    assert (now.champion.version, now.challenger, now.weight) == (1, None, 0)


def test_a_version_that_cannot_be_fetched_leaves_the_champion_alone(released, simple):
    found = Registry.of(released)
    run = found.aliased("fuel", "champion").run_id
    found.register("fuel", run_id=run, digest=simple.digest, tags={})
    begin(released)

    told = list(restore(released))

    assert "Version 2 of fuel, which is rolled out, is not deployed" in told[1]
    now = routes.read(released.routing, "fuel")
    assert (now.champion.version, now.challenger) == (1, None)


def test_a_whole_routing_file_leaves_the_registry_alone(settings, packed, no_registry, monkeypatch):
    monkeypatch.setattr(contract, "available", lambda: ["fuel"])
    champion = placement.place(settings, packed, 1)
    routes.write(settings.routing, Routing("fuel", champion=champion))

    assert list(restore(settings)) == []


def test_before_the_first_run_no_registry_is_made(tmp_path, settings, no_registry):
    shutil.rmtree(settings.home / "mlflow")

    assert list(restore(settings)) == []
    assert not (settings.home / "mlflow").exists()


def test_a_registry_elsewhere_is_asked_also_when_nothing_is_here(settings, released_from):
    away = settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})

    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:9 does not answer"):
        list(restore(away))


def test_a_release_that_cannot_be_fetched_is_told(released):
    shutil.rmtree(released.home / "remote.git")

    with pytest.raises(RoadworthyError, match="ROADWORTHY_GIT_REMOTE"):
        list(restore(released))
    assert routes.models(released.routing) == []


def test_what_is_whole_is_served_although_another_file_cannot_come_back(settings, packed):
    champion = placement.place(settings, packed, 1)
    routes.write(settings.routing, Routing("fuel", champion=champion))
    broken = {"model": "other", "champion": None, "challenger": None}
    (settings.routing / "other.json").write_text(json.dumps(broken))
    away = settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})

    (told,) = restore(away)

    assert "does not answer" in told
    assert routes.read(settings.routing, "fuel").champion == champion


def test_a_rollout_of_a_cluster_is_left_to_it(released, simple):
    # given a rollout on a cluster that was promoted, and a home whose routing file is lost
    found = Registry.of(released)
    run = found.aliased("fuel", "champion").run_id
    found.register("fuel", run_id=run, digest=simple.digest, tags={})
    held = begin(released)
    held.move("ready")
    held.move("verified")
    held.move("promoted", by_hand="ada")
    # when a server starts here
    told = list(restore(released.model_copy(update={"target": "kserve"})))
    # then it has the champion alone, and the rollout is as it was
    assert told == ["Put fuel version 1 in service again, from the registry."]
    assert routes.read(released.routing, "fuel").challenger is None
    assert not LocalRecords(released).read("fuel").rollout.settled
    assert found.aliased("fuel", "champion").number == 1
