"""A rollback changes the routing file first; what a kill interrupted is recorded later."""

import json

import pytest

from roadworthy.rollout.actions import rollback
from roadworthy.rollout.engine import finalising, lease, record
from roadworthy.rollout.engine.lease import Lease
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import RolledBackError, Rollout, RolloutError
from roadworthy.rollout.local import placement
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.rollout.local.restoration import restore
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking import ledger
from roadworthy.tracking import registry as registry_module
from roadworthy.tracking.registry import Registry, RegistryError
from tests.parts.answering import Reply


@pytest.fixture
def registry(settings):
    return Registry.of(settings)


@pytest.fixture
def released(settings, registry, packed, simple):
    """Version 2 is the champion, version 1 was before it."""
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    releases = []
    for number, made in enumerate((packed, simple), start=1):
        version = registry.register("fuel", run_id=run, digest=made.digest, tags={})
        registry.tag(version, {"promoted_at": f"2026-01-0{number}T00:00:00+00:00"})
        registry.set_alias(version, "champion")
        releases.append(placement.place(settings, made, number))
    first, second = releases
    routes.write(settings.routing, Routing("fuel", champion=second, previous=first))
    return releases


@pytest.fixture
def no_registry(monkeypatch):
    def asked(*arguments):
        pytest.fail("the registry was asked")

    monkeypatch.setattr(registry_module.Registry, "of", asked)


def champion(registry):
    return registry.aliased("fuel", "champion").number


def begin(settings, champion=1) -> Lease:
    return lease.begin(
        *(settings, LocalTarget(settings).records, "fuel", 2),
        champion=champion,
        strategy="canary",
        owner="run-1",
        why="",
    )


def written(settings):
    return LocalTarget(settings).records.read("fuel")


def beside(settings, registry, released, **more) -> Lease:
    """Put version 2 on its way beside version 1; return the right to drive it."""
    first, second = released
    registry.set_alias(registry.version("fuel", 1), "champion")
    routes.write(settings.routing, Routing("fuel", first, second, shadow=True, **more))
    return begin(settings)


def test_the_service_comes_first_and_asks_no_registry(settings, released, no_registry):
    undone = rollback.roll_back(settings, "fuel", why="it smokes")

    found = routes.read(settings.routing, "fuel")
    assert (found.champion.version, found.previous, found.challenger) == (1, None, None)
    assert found.champion.digest == released[0].digest
    assert written(settings).intent == undone.intent


def test_then_it_is_recorded_once(settings, registry, released):
    undone = rollback.roll_back(settings, "fuel", why="it smokes")

    undone.record()
    undone.record()

    assert champion(registry) == 1
    assert "by tester" in registry.version("fuel", 2).tags["rolled_back"]
    assert "it smokes" in registry.version("fuel", 2).tags["rolled_back"]
    assert "in place of version 2 by tester" in registry.version("fuel", 1).tags["restored"]
    assert written(settings).intent is None
    entries = [(one.event, one.version) for one in ledger.read(registry.versions("fuel"))]
    assert entries[-2:] == [("restored", 1), ("rolled back", 2)]
    assert len(entries) == 4


@pytest.mark.parametrize("step", ["tag", "set_alias"])
def test_what_was_not_recorded_is_recorded_by_whoever_comes_next(
    settings, registry, released, step, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    undone = rollback.roll_back(settings, "fuel", why="it smokes")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, die)
        with pytest.raises(Killed):
            undone.record()

    # a server that starts does it
    assert list(restore(settings)) == []

    assert champion(registry) == 1
    assert written(settings).intent is None


def test_a_second_one_asks_the_registry_and_leaves_out_what_was_bad(settings, registry, released):
    rollback.roll_back(settings, "fuel", why="it smokes").record()

    with pytest.raises(RolloutError, match="No other version of fuel was the champion before"):
        rollback.roll_back(settings, "fuel", why="it smokes")
    version = registry.version("fuel", 2)
    registry.tag(version, {"gate": "failed"})
    with pytest.raises(RolloutError, match="The gate refused version 2 of fuel"):
        rollback.roll_back(settings, "fuel", to=2, why="it was the oil")
    registry.tag(version, {"gate": "passed"})
    rollback.roll_back(settings, "fuel", to=2, why="it was the oil").record()

    assert champion(registry) == 2
    assert routes.read(settings.routing, "fuel").previous.version == 1
    assert routes.read(settings.routing, "fuel").champion.digest == released[1].digest
    assert registry.version("fuel", 2).tags["rolled_back"] == ""


def test_what_answers_already_is_told(settings, released):
    with pytest.raises(RolloutError, match="Version 2 of fuel answers already"):
        rollback.roll_back(settings, "fuel", to=2, why="")
    assert written(settings).intent is None


def test_without_a_champion_there_is_nothing_to_roll_back(settings):
    with pytest.raises(RolloutError, match="has no champion"):
        rollback.roll_back(settings, "fuel", why="")


def test_during_a_rollout_it_ends_that(settings, registry, released):
    # given version 2 on its way beside version 1
    held = beside(settings, registry, released, weight=50, state="shifting")
    # when it is rolled back
    with pytest.raises(RolloutError, match="is being rolled out"):
        rollback.roll_back(settings, "fuel", to=2, why="")
    rollback.roll_back(settings, "fuel", why="it smokes").record()
    # then the champion answers alone, and the rollout has ended
    assert routes.read(settings.routing, "fuel") == Routing("fuel", champion=released[0])
    found = written(settings).rollout
    assert (found.state, found.settled) == ("rolled back", True)
    assert "by tester" in found.problem
    assert json.loads(registry.version("fuel", 2).tags["rollout"])["state"] == "rolled back"
    # and whoever drove it changes nothing more
    with pytest.raises(RolledBackError):
        held.move("ready")


def test_a_rollout_that_the_release_before_left_ends_with_it(settings, registry, released):
    # given version 2 beside version 1, as a driver of the release before left them when killed
    held = beside(settings, registry, released, weight=50, state="shifting")
    left = record.encode(record.Record("fuel", rollout=held.rollout))
    registry.set_model_tag("fuel", "rollout", json.dumps(json.loads(left)["rollout"]))
    (settings.home / "rollouts" / "fuel.json").unlink()

    rollback.roll_back(settings, "fuel", why="it smokes").record()

    # then no later command goes on with it
    assert routes.read(settings.routing, "fuel") == Routing("fuel", champion=released[0])
    assert not registry.model_tags("fuel")["rollout"]
    assert written(settings).rollout.state == "rolled back"


def test_a_damaged_record_is_told(settings, released):
    (settings.home / "rollouts").mkdir()
    (settings.home / "rollouts" / "fuel.json").write_text("{")

    with pytest.raises(RolloutError, match="cannot be read"):
        rollback.roll_back(settings, "fuel", why="")


@pytest.mark.parametrize("state", ["promoted", "rolled back"])
def test_an_end_that_was_left_half_done_is_finished(settings, registry, released, state):
    held = beside(settings, registry, released, weight=100)
    held.move("ready")
    held.move("verified")
    ended: Rollout = (
        held.move("promoted", by_hand="ada")
        if state == "promoted"
        else held.put(held.rollout.back("it smokes"))
    )
    assert not ended.settled

    # when the server starts again
    assert list(restore(settings)) == []

    expected = 2 if state == "promoted" else 1
    assert routes.read(settings.routing, "fuel").champion.version == expected
    assert champion(registry) == expected
    assert written(settings).rollout.settled
    finalising.catch_up(settings, registry, LocalTarget(settings), "fuel")
    assert isinstance(held, Lease)


@pytest.fixture
def under_way(settings, registry, released):
    """The right to drive version 2, which is at 50 % beside version 1."""
    held = beside(settings, registry, released, weight=50, state="shifting")
    held.move("ready")
    held.move("verified")
    held.move("shifting", weight=50)
    return held


@pytest.mark.parametrize("promoted", ["only noted", "deployed"])
def test_a_rollback_in_the_instant_of_promotion_has_the_last_word(
    settings, registry, under_way, promoted
):
    # given a promotion that is noted, and not settled
    target = LocalTarget(settings)
    under_way.move("promoted", by_hand="ada")
    if promoted == "deployed":
        target.promote(under_way.rollout)
    # when it is rolled back
    rollback.roll_back(settings, "fuel", why="it smokes").record()
    # then it is off, the promotion cannot be ended, and nothing is stuck
    with pytest.raises(RolloutError):
        finalising.settle(under_way, target, registry)
    finalising.catch_up(settings, registry, target, "fuel")
    found = written(settings).rollout
    assert (found.state, found.settled) == ("rolled back", True)
    assert "it smokes" in found.problem
    assert champion(registry) == 1
    assert routes.read(settings.routing, "fuel").champion.version == 1


def test_a_bad_version_is_out_of_service_also_when_the_registry_is_gone(
    settings, registry, under_way, monkeypatch
):
    def gone(*arguments):
        raise RegistryError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "version", gone)
        with pytest.raises(RegistryError):
            finalising.roll_back(under_way, LocalTarget(settings), registry, "an answer differs")

    assert routes.read(settings.routing, "fuel").challenger is None
    # and whoever comes next tells the registry
    assert list(restore(settings)) == []
    found = written(settings).rollout
    assert (found.state, found.settled) == ("rolled back", True)
    assert "an answer differs" in found.problem
    assert "an answer differs" in registry.version("fuel", 2).tags["rolled_back"]
    assert written(settings).intent is None


def test_a_first_release_that_is_bad_is_out_of_service_too(settings, registry, released):
    # given a rollback that the release before left, which knew no champion
    routes.write(settings.routing, Routing("fuel", challenger=released[1]))
    begin(settings, champion=0)
    left = RollbackIntent("fuel", 0, (2,), "ada", "2026-01-02T03:04:05+00:00", "it smokes")
    (settings.routing / ".fuel.note").write_text(record.encode(left))

    finalising.catch_up(settings, registry, LocalTarget(settings), "fuel")

    assert routes.read(settings.routing, "fuel") == Routing("fuel")
    assert written(settings).rollout.state == "rolled back"
    assert not (settings.routing / ".fuel.note").exists()


def test_every_process_is_waited_for(settings, released, server_of):
    # given a server of two processes, of which the second takes its time
    asked = []

    def answer(request):
        asked.append(request.path)
        second = 1 if len(asked) > 3 else 2
        return Reply.of(
            {"workers": [{"split": [{"version": one, "weight": 100}]} for one in (1, second)]}
        )

    url = server_of(answer)
    here = settings.model_copy(update={"serving_url": url})

    undone = rollback.roll_back(here, "fuel", why="it smokes")

    assert undone.wait() == url
    assert asked == ["/v2/models/fuel/workers"] * 4


@pytest.mark.parametrize(
    ("champion", "challenger", "to", "expected"),
    [
        (3, 0, 0, 0),  # the one before
        (3, 0, 1, 1),
        (3, 0, 3, 3),  # of which it is told that it answers already
        (3, 4, 0, 3),  # an abort
        (3, 4, 3, 3),
        (3, 4, 1, 1),
        (3, 3, 0, 0),  # released once more
    ],
)
def test_where_a_rollback_leads(champion, challenger, to, expected):
    assert rollback.goal("fuel", champion, challenger, to) == expected


@pytest.mark.parametrize(
    ("champion", "challenger", "chosen", "off"),
    [(3, 0, 1, (3,)), (3, 4, 3, (4,)), (3, 4, 1, (3, 4)), (3, 3, 1, (3,))],
)
def test_what_a_rollback_takes_off(champion, challenger, chosen, off):
    assert rollback.taken_off("fuel", champion, challenger, chosen) == off
