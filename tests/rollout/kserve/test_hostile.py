"""What people and kills do to a rollout on a cluster is told, and locks nothing."""

import json
import signal
import time

import pytest

from roadworthy.core.errors import ExitCode
from roadworthy.rollout.kserve.cluster_records import NOTE, RECORD
from tests.rollout.kserve.test_commands import PATIENCE_SECONDS, gateway, place

__all__ = ["gateway", "place"]

LONG = {"ROADWORTHY_STAGE_SECONDS": "300"}
ON_STANDARD = pytest.mark.parametrize("place", ["Standard"], indirect=True)


@pytest.fixture
def hand(place, kube):
    """Somebody's kubectl in the namespace of the model."""

    def kubectl(*arguments):
        return kube.kubectl(*arguments, "-n", place.controller.namespace)

    return kubectl


@pytest.fixture
def patch(hand):
    """Somebody who changes the InferenceService."""

    def patched(verb, path, value=None):
        change = {"op": verb, "path": path, "value": value}
        hand("patch", "inferenceservice", "fuel", "--type=json", "-p", json.dumps([change]))

    return patched


@pytest.fixture
def note(hand):
    """Read the pending rollback, as text."""

    def read():
        told = hand("get", "pdb", "fuel", "-o", f"jsonpath={{.metadata.annotations.{RECORD}}}")
        return json.loads(told or "{}").get("intent") or ""

    return read


def until(happens):
    end = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def stands(place):
    """Return who answers, as the routing file says it and as the registry does."""
    found = place.status()
    return found["champion"], found["challenger"], found["problem"], place.champion()


def stop_a_way_back_to_2(place, note, how):
    """Stop a rollback while it waits for a version that does not come up."""
    place.controller.slow[2] = 100_000
    with place.started("rollback", "fuel", "--to", "2", ROADWORTHY_READY_SECONDS="300") as first:
        until(lambda: note() and place.status()["challenger"] == 2)
        first.send_signal(how)
        assert first.wait(PATIENCE_SECONDS) != 0


@ON_STANDARD
def test_a_way_back_that_is_stopped_is_as_if_it_had_never_begun(place, note):
    stop_a_way_back_to_2(place, note, signal.SIGINT)

    assert note() == ""
    assert stands(place) == (1, 0, "", 1)


@ON_STANDARD
def test_a_way_back_that_was_killed_is_given_up_before_the_registry_is_told(
    place, note, monkeypatch
):
    stop_a_way_back_to_2(place, note, signal.SIGKILL)
    monkeypatch.setenv("ROADWORTHY_READY_SECONDS", "3")
    assert note()

    # when anybody comes next
    assert "answers already" in str(place.run("rollback", "fuel", "--to", "1").exception)

    # then nothing says that version 2 answers, and nothing is in the way
    assert note() == ""
    assert stands(place) == (1, 0, "", 1)
    assert not place.registry.version("fuel", 1).tags.get("rolled_back")
    assert not place.registry.version("fuel", 2).tags.get("restored")


@ON_STANDARD
def test_a_way_back_that_was_killed_is_finished_where_the_version_does_come_up(place, note):
    stop_a_way_back_to_2(place, note, signal.SIGKILL)
    place.controller.slow.clear()
    for pods in place.controller._pods.values():
        pods.ready_at, pods.made = 0.0, [0.0 for _ in pods.made]

    place.run("rollout", "abort", "fuel")

    assert note() == ""
    assert stands(place) == (2, 0, "", 2)


GOOD = {"model": "fuel", "champion": 1, "taken_off": [2], "by": "a", "at": "b", "why": "c"}


@ON_STANDARD
def test_a_note_that_no_rollback_left_changes_nothing(place, hand):
    wrong = {
        "it is of other": {"model": "other"},
        "champion: Input should be a valid integer": {"champion": "1"},
        "taken_off.0: Input should be a valid integer": {"taken_off": [{}]},
        "names version 99": {"champion": 99, "taken_off": [1]},
        "takes off version 1, the champion": {"champion": 0, "taken_off": [1]},
    }
    for problem, change in wrong.items():
        hand("annotate", "--overwrite", "pdb", "fuel", f"{NOTE}={json.dumps(GOOD | change)}")

        found = place.run("rollout", "start", "fuel:2")

        assert (found.exit_code, problem in str(found.exception)) == (1, True), found.exception
        champion, challenger, _, alias = stands(place)
        assert (champion, challenger, alias) == (1, 0, 1)
        assert "rolled_back" not in place.registry.version("fuel", 2).tags


@ON_STANDARD
def test_a_canary_that_somebody_damaged_is_taken_off(place, patch, monkeypatch):
    def is_whole(live):
        return all("env" in one["predictor"]["model"] for one in live["spec"].get("canary") or [])

    # given a controller that goes on as it was while it does not understand what it is told
    reconcile = place.controller._reconcile
    monkeypatch.setattr(
        place.controller, "_reconcile", lambda live: reconcile(live) if is_whole(live) else None
    )
    with place.started("rollout", "start", "fuel:2", **LONG) as first:
        place.wait_for("shifting", first)
        wait_until_applied(place)
        first.send_signal(signal.SIGSTOP)  # so that this driver does not take it off itself
        patch("remove", "/spec/canary/0/predictor/model/env")
        problem = place.status()["problem"]
        assert "is not one that a rollout put there" in problem
        assert "delete" not in problem

        place.done("rollback", "fuel")

        assert stands(place) == (1, 0, "", 1)
        assert "rolled back by ada" in place.registry.version("fuel", 2).tags["rollout"]
        first.send_signal(signal.SIGCONT)
        assert first.wait(PATIENCE_SECONDS) != 0
        assert "rolled back by ada" in " ".join(first.stdout.read().split())
    assert stands(place) == (1, 0, "", 1)


def wait_until_applied(place):
    """Wait until the driver has applied what it has noted: its object changes no more."""
    before = None
    while (now := place.controller.get()["metadata"]["resourceVersion"]) != before:
        before = now
        time.sleep(2)


@ON_STANDARD
def test_a_field_that_somebody_took_is_told_before_anything_moves(place, patch):
    patch("replace", "/spec/predictor/model/runtime", "other")
    before = place.controller.get()["spec"]

    found = place.run("rollout", "start", "fuel:2")

    assert found.exit_code != 0
    assert "spec.predictor.model.runtime has a conflict" in str(found.exception)
    assert place.controller.get()["spec"]["predictor"]["model"] == before["predictor"]["model"]
    assert (place.status()["challenger"], place.champion()) == (0, 1)


@ON_STANDARD
def test_a_weight_that_somebody_changed_ends_the_rollout(place, patch):
    with place.started("rollout", "start", "fuel:2", **LONG) as first:
        place.wait_for("shifting", first)
        until(lambda: place.status()["challenger"] == 2)
        patch("replace", "/spec/canary/0/trafficPercent", 77)

        assert first.wait(PATIENCE_SECONDS) != 0
        assert "it gives version 2 77 %" in " ".join(first.stdout.read().split())
    assert stands(place) == (1, 0, "", 1)
    assert "was changed by hand" in place.registry.version("fuel", 2).tags["rolled_back"]


@ON_STANDARD
def test_an_object_that_somebody_deletes_ends_the_rollout_and_is_told(place, hand, patch):
    with place.started("rollout", "start", "fuel:2", **LONG) as first:
        place.wait_for("shifting", first)
        patch("add", "/metadata/finalizers", ["tests.example/kept"])
        hand("delete", "inferenceservice", "fuel", "--wait=false")

        assert first.wait(PATIENCE_SECONDS) != 0
        assert "is being deleted" in " ".join(first.stdout.read().split())
    told = place.registry.version("fuel", 2).tags["rolled_back"]
    assert "The InferenceService fuel is being deleted, so its champion is not deployed" in told
    # and until it is gone nothing is put there
    assert "being deleted" in str(place.run("rollout", "start", "fuel:2").exception)
    patch("remove", "/metadata/finalizers")
    until(lambda: "There is no InferenceService" in place.status()["problem"])
    # but then everything can be had again
    place.done("rollout", "start", "fuel:2")
    assert stands(place) == (2, 0, "", 2)


@ON_STANDARD
def test_a_driver_that_was_killed_is_a_problem_that_status_tells(place, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_LEASE_SECONDS", "2")
    with place.started("rollout", "start", "fuel:2", ROADWORTHY_STAGE_SECONDS="3") as first:
        until(lambda: place.status()["weight"] == 10)
        first.kill()
        first.wait(PATIENCE_SECONDS)

    found = place.run("status", "fuel")

    told = " ".join(found.output.split())
    assert found.exit_code == ExitCode.FAILED
    assert "`roadworthy rollout resume fuel` goes on with it" in told
    assert "abort fuel` removes it from service" in told
    place.done("rollback", "fuel")
    assert stands(place) == (1, 0, "", 1)


@ON_STANDARD
def test_a_rollout_that_was_killed_before_its_version_was_there_is_taken_back(place):
    with place.started("rollout", "start", "fuel:2", **LONG) as first:
        place.wait_for("staged", first)
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE_SECONDS)

    place.done("rollback", "fuel")

    assert stands(place) == (1, 0, "", 1)
    assert place.status()["rollout"] is None
