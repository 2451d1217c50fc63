"""One rollout at a time, held by one owner, and lost by whoever was taken for dead."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import pytest

from roadworthy.rollout.engine import lease, starting
from roadworthy.rollout.engine.lease import Lease, TakenError
from roadworthy.rollout.engine.state import RolloutError, Wish
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.tracking import registry as registry_module
from roadworthy.tracking.registry import Registry

DEAD = "elsewhere:1:2"


@pytest.fixture
def registry(settings):
    return Registry.of(settings)


@pytest.fixture
def versions(registry):
    """Versions 1 and 2, the first one the champion."""
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    made = [registry.register("fuel", run_id=run, digest=word, tags={}) for word in "abc"]
    registry.set_alias(made[0], "champion")
    return made


@pytest.fixture
def begin(settings, registry, versions):
    def call(number, owner, *, unique=False, **changes):
        return starting.begin(
            settings.model_copy(update=changes),
            registry,
            LocalTarget(settings),
            versions[number - 1],
            strategy="canary",
            owner=owner,
            why="it is new",
            unique=unique,
        )

    return call


def test_a_rollout_is_kept_in_the_registry(begin, registry):
    held = begin(2, "run-1")

    held.move("ready")

    found = lease.read(registry, "fuel")
    assert found == held.rollout
    assert (found.version, found.champion, found.state, found.owner) == (2, 1, "ready", "run-1")


def test_a_second_is_refused_as_long_as_the_first_lives(begin):
    begin(2, "run-1")

    with pytest.raises(
        TakenError, match=r"Version 2 of fuel is being rolled out already, by run-1"
    ):
        begin(3, "run-2")
    # and another process that calls itself the same is another owner
    with pytest.raises(TakenError, match="is being rolled out already"):
        begin(2, "run-1", holder=DEAD)


def test_a_run_that_is_tried_again_goes_on_whatever_process_it_is_now(begin):
    first = begin(2, "run-1", unique=True, holder=DEAD)
    first.move("ready")

    again = begin(2, "run-1", unique=True, holder="other:3:4")

    assert again.rollout.state == "ready"
    assert again.rollout.holder == "other:3:4"
    with pytest.raises(TakenError):
        first.move("verified")
    with pytest.raises(TakenError, match="by run-1"):
        begin(3, "run-2", unique=True, holder=DEAD)


def test_an_owner_elsewhere_lives_as_long_as_it_says_so(begin):
    begin(2, "run-1", holder=DEAD)

    with pytest.raises(TakenError, match="on elsewhere"):
        begin(3, "run-2")


def test_the_same_owner_goes_on(begin):
    first = begin(2, "run-1")
    first.move("ready")

    again = begin(2, "run-1")

    assert again.rollout.state == "ready"


def test_a_rollout_of_the_dead_goes_on_where_it_was(begin):
    first = begin(2, "run-1", holder=DEAD)
    first.move("ready")
    first.move("verified")

    again = begin(2, "run-2", lease_seconds=1e-9)

    assert (again.rollout.state, again.rollout.owner) == ("verified", "run-2")
    # and whoever comes back from the dead changes nothing
    with pytest.raises(TakenError, match="was taken over: version 2 of fuel is verified"):
        first.move("shifting", share=50)
    assert again.put(replace(again.rollout, share=10)).share == 10


def test_a_rollout_of_the_dead_is_rolled_back_for_another_version(begin, registry):
    begin(2, "run-1", holder=DEAD)

    held = begin(3, "run-2", lease_seconds=1e-9)

    assert held.rollout.version == 3
    assert (
        "its owner, run-1, ended before it did" in registry.version("fuel", 2).tags["rolled_back"]
    )


def test_of_many_that_begin_at_once_one_does(begin, settings, versions):
    held, refused = [], []

    def attempt(number):
        try:
            held.append(
                lease.begin(
                    settings,
                    Registry.of(settings),
                    "fuel",
                    2,
                    champion=1,
                    strategy="canary",
                    owner=f"run-{number}",
                    why="",
                )
            )
        except RolloutError as error:
            refused.append(error)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(held), len(refused)) == (1, 5)


def test_a_wish_is_heard_once_and_only_for_its_version(begin, registry):
    held = begin(2, "run-1")
    registry.set_model_tag("fuel", lease.WISH, Wish("pause", 2, "ada", "now").encode())

    assert held.wish() == Wish("pause", 2, "ada", "now")
    assert held.wish() is None
    registry.set_model_tag("fuel", lease.WISH, Wish("abort", 1, "ada", "now").encode())
    assert held.wish() is None


@pytest.mark.parametrize("foreign", ["{", "[]", "null", '{"verb": "fly"}', "17", '"abort"'])
def test_a_wish_that_is_none_is_ignored(begin, registry, foreign):
    held = begin(2, "run-1")
    registry.set_model_tag("fuel", lease.WISH, foreign)

    assert held.wish() is None
    # and told once
    assert not registry.model_tags("fuel")[lease.WISH]


def test_going_on_is_said_only_now_and_then(begin, registry):
    held = begin(2, "run-1")
    before = lease.read(registry, "fuel").renewed

    held.renew()
    assert lease.read(registry, "fuel").renewed == before

    Lease(held.settings.model_copy(update={"lease_seconds": 1e-6}), registry, held.rollout).renew()
    assert lease.read(registry, "fuel").renewed >= before


def test_what_is_gone_from_the_registry_is_told(begin, registry):
    held = begin(2, "run-1")
    registry.set_model_tag("fuel", lease.ROLLOUT, "")

    with pytest.raises(TakenError, match="is gone from the registry"):
        held.move("ready")
    with pytest.raises(TakenError, match="No rollout of fuel was begun"):
        starting.hold(held.settings, registry, "fuel", 2, "run-1")


def test_of_two_at_a_server_whose_looks_and_writes_cross_one_is_told_that_it_wrote(
    settings, versions, monkeypatch
):
    # given two that look before either has written, as at a server, where there is no lock
    monkeypatch.setattr(registry_module, "_lock", lambda _: nullcontext())
    first, second = Registry.of(settings), Registry.of(settings)
    write_first, write_second = (one._client.set_registered_model_tag for one in (first, second))
    looked, waits, wrote = threading.Event(), threading.Event(), threading.Event()

    def early(*arguments):
        assert looked.wait(20)
        write_first(*arguments)

    def late(*arguments):
        looked.set()
        waits.wait(2)  # nobody says so where the first one does not wait
        write_second(*arguments)
        wrote.set()

    def pause(seconds):
        waits.set()
        assert wrote.wait(20)

    monkeypatch.setattr(first._client, "set_registered_model_tag", early)
    monkeypatch.setattr(second._client, "set_registered_model_tag", late)
    monkeypatch.setattr(registry_module.time, "sleep", pause)
    # when both swap
    with ThreadPoolExecutor(2) as pool:
        told = list(
            pool.map(
                lambda one: one[0].swap_model_tag("fuel", "word", "", one[1]),
                ((first, "first"), (second, "second")),
            )
        )
    # then the one whose word is there is told so
    assert told == [False, True]
    assert first.model_tags("fuel")["word"] == "second"
