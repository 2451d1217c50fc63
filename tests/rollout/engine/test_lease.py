"""One rollout at a time, driven by one owner, and lost by whoever was taken for dead."""

import subprocess
import sys
from dataclasses import replace

import pytest

from roadworthy.rollout.engine import lease, record, starting
from roadworthy.rollout.engine.lease import ConflictError, Lease
from roadworthy.rollout.engine.record import Command
from roadworthy.rollout.engine.state import RolledBackError
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.tracking.registry import Registry

DEAD = "elsewhere:1:2"


@pytest.fixture
def registry(settings):
    return Registry.of(settings)


@pytest.fixture
def records(settings):
    return LocalTarget(settings).records


@pytest.fixture
def versions(registry):
    """Versions 1, 2 and 3, the first one the champion."""
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    made = [registry.register("fuel", run_id=run, digest=word, tags={}) for word in "abc"]
    registry.set_alias(made[0], "champion")
    return made


@pytest.fixture
def start(settings, registry, versions):
    def call(number, owner, *, unique=False, **changes):
        return starting.start(
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


def test_a_second_is_refused_as_long_as_the_first_lives(start, records):
    held = start(2, "run-1")
    held.move("ready")

    found = records.read("fuel").rollout
    assert found == held.rollout
    assert (found.version, found.champion, found.state, found.owner) == (2, 1, "ready", "run-1")
    told = r"Version 2 of fuel is being rolled out already, by run-1"
    with pytest.raises(ConflictError, match=told):
        start(3, "run-2")
    # and another process that calls itself the same is another owner
    with pytest.raises(ConflictError, match=told):
        start(2, "run-1", holder=DEAD)
    # but the same one continues
    assert start(2, "run-1").rollout.state == "ready"


def test_a_run_that_is_retried_continues_whatever_process_it_is_now(start):
    first = start(2, "run-1", unique=True, holder=DEAD)
    first.move("ready")

    again = start(2, "run-1", unique=True, holder="other:3:4")

    assert (again.rollout.state, again.rollout.holder) == ("ready", "other:3:4")
    with pytest.raises(ConflictError):
        first.move("verified")
    # and an owner on another machine lives as long as it writes
    with pytest.raises(ConflictError, match="by run-1 on other"):
        start(3, "run-2", unique=True, holder=DEAD)


def test_a_rollout_of_the_dead_goes_on_where_it_was(start):
    first = start(2, "run-1", holder=DEAD)
    first.move("ready")
    first.move("verified")

    again = start(2, "run-2", lease_seconds=1e-9)

    assert (again.rollout.state, again.rollout.owner) == ("verified", "run-2")
    # and whoever comes back from the dead changes nothing
    with pytest.raises(ConflictError, match="was taken over: version 2 of fuel is verified"):
        first.move("shifting", weight=50)
    assert again.put(replace(again.rollout, weight=10)).weight == 10


def test_a_rollout_of_the_dead_is_rolled_back_for_another_version(start, registry):
    start(2, "run-1", holder=DEAD)

    held = start(3, "run-2", lease_seconds=1e-9)

    assert held.rollout.version == 3
    assert (
        "its owner, run-1, ended before it did" in registry.version("fuel", 2).tags["rolled_back"]
    )


def test_of_many_processes_that_start_at_once_one_does(settings):
    # given processes that wait for each other
    script = (
        "import sys; from pathlib import Path; from roadworthy.core.settings import Settings;"
        "from roadworthy.rollout.engine import lease;"
        "from roadworthy.rollout.local.local_records import LocalRecords;"
        f"of = Settings(home=Path({str(settings.home)!r})); input();"
        "lease.begin(of, LocalRecords(of), 'fuel', 2, champion=1, strategy='canary',"
        " owner=sys.argv[1], why='')"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, f"run-{number}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120)[1] for process in processes]

    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1, 1, 1], told
    owner = lease.hold(settings, LocalTarget(settings).records, "fuel", 2, f"run-{codes.index(0)}")
    assert owner.rollout.state == "staged"
    assert all("is being rolled out already" in text for text in told if text)


def test_a_command_is_read_once_and_only_for_its_version(start, records):
    held = start(2, "run-1")

    def say(command):
        record.change(records, "fuel", lambda now: replace(now, command=command))

    say(Command("pause", 2, "ada", "now"))
    held.move("ready")  # a command is no reason to lose a rollout
    assert held.command() == Command("pause", 2, "ada", "now")
    assert held.command() is None
    say(Command("abort", 1, "ada", "now"))
    assert held.command() is None


def test_a_renewal_is_written_only_now_and_then(start, records):
    held = start(2, "run-1")
    before = records.read("fuel").rollout.renewed

    held.renew()
    assert records.read("fuel").rollout.renewed == before

    Lease(held.settings.model_copy(update={"lease_seconds": 1e-6}), records, held.rollout).renew()
    assert records.read("fuel").rollout.renewed >= before


def test_a_record_that_is_gone_is_told(start, records, settings):
    held = start(2, "run-1")
    record.change(records, "fuel", lambda now: replace(now, rollout=None))

    with pytest.raises(ConflictError, match="has no record any more"):
        held.move("ready")
    with pytest.raises(ConflictError, match="No rollout of fuel was begun"):
        lease.hold(settings, records, "fuel", 2, "run-1")


def test_an_alias_that_was_moved_by_hand_is_a_conflict_with_two_ways_out(
    start, registry, versions, settings
):
    # given a champion that a rollout made, and an alias that somebody moved
    target = LocalTarget(settings)
    record.change(target.records, "fuel", lambda now: replace(now, champion=1))
    registry.set_alias(versions[1], "champion")

    with pytest.raises(ConflictError, match="names version 2 of fuel, but version 1") as caught:
        start(3, "run-1")
    assert "`roadworthy rollout start fuel:2`" in str(caught.value)

    # then that version can be rolled out beside the one that is deployed
    held = start(2, "ada")
    assert (held.rollout.version, held.rollout.champion) == (2, 1)
    record.change(target.records, "fuel", lambda now: replace(now, rollout=None))
    # or the alias is moved back
    registry.set_alias(versions[0], "champion")
    assert start(3, "run-1").rollout.champion == 1


def test_a_rollback_that_is_pending_stops_a_start(start, records):
    intent = record.RollbackIntent("fuel", 1, (3,), "ada", "2026-01-02", "it is bad")
    held = start(2, "run-1")
    record.leave(records, intent)

    with pytest.raises(RolledBackError, match="by ada"):
        lease.begin(
            *(held.settings, records, "fuel", 3),
            champion=1,
            strategy="canary",
            owner="run-2",
            why="",
        )
