"""What a cluster tells of a version that does not come up becomes one sentence."""

import re

import pytest

from roadworthy.rollout.kserve.diagnosis import diagnose

SINCE = "2026-01-02T03:04:05Z"


def find(live=None, pods=(), events=()):
    return diagnose(live or {}, pods, events, owner="fuel-v3-predictor", since=SINCE)


def pod(container=None, *, init=None, conditions=(), name="fuel-v3-predictor-a", **metadata):
    return {
        "metadata": {"name": name, **metadata},
        "status": {
            "containerStatuses": [container] if container else [],
            "initContainerStatuses": [init] if init else [],
            "conditions": list(conditions),
        },
    }


def waiting(reason, message="", *, name="kserve-container", last=None, **more):
    return {
        "name": name,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": last} if last else {},
        **more,
    }


def event(
    message, *, reason="FailedCreate", at="2026-01-02T03:04:06Z", name="fuel-v3-predictor-6f"
):
    return {
        "involvedObject": {"name": name},
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
    }


@pytest.mark.parametrize(
    ("container", "told"),
    [
        (waiting("ImagePullBackOff", "Back-off pulling x"), "image cannot be pulled .*pulling x"),
        (waiting("InvalidImageName"), "no valid name .InvalidImageName."),
        (waiting("CreateContainerConfigError", 'secret "a" not found'), 'secret "a" not found'),
        (
            waiting(
                "CrashLoopBackOff",
                "back-off",
                last={"exitCode": 1, "reason": "Error", "message": "one\nThe bundle is damaged."},
            ),
            "ends again and again .Error, exit code 1: The bundle is damaged",
        ),
        (
            waiting("CrashLoopBackOff", last={"exitCode": 137, "reason": "OOMKilled"}),
            "OOMKilled, exit code 137",
        ),
    ],
    ids=["image", "name", "config", "crash", "memory"],
)
def test_a_pod_that_cannot_run_is_final(container, told):
    found = find(pods=[pod(container)])

    assert not found.passing
    assert re.search(told, found.problem)


def test_a_bundle_that_is_not_fetched_is_told_with_the_last_words():
    init = waiting(
        "CrashLoopBackOff",
        name="storage-initializer",
        last={"exitCode": 1, "reason": "Error", "message": "Trace\nNo credentials"},
    )

    found = find(pods=[pod(init=init)])

    assert found.problem == "its bundle cannot be fetched (Error, exit code 1: No credentials)"


def test_no_room_may_pass():
    condition = {"reason": "Unschedulable", "message": "0/3 nodes are available."}

    found = find(pods=[pod(conditions=[condition])])

    assert found.passing
    assert found.problem == "no node has room for its pod (0/3 nodes are available)"


def test_a_quota_is_told():
    found = find(events=[event("Error creating: pods is forbidden: exceeded quota: q, pods=0")])

    assert not found.passing
    assert "quota does not allow" in found.problem


@pytest.mark.parametrize(
    "other",
    [
        event("exceeded quota: q", at="2026-01-02T03:04:04Z"),
        event("exceeded quota: q", name="fuel-v2-predictor-6f"),
        event("exceeded quota: q", name="fuel-v3-predictors"),
    ],
    ids=["earlier", "another-version", "another-name"],
)
def test_what_is_of_something_else_is_not_told(other):
    assert find(events=[other]) is None


def test_a_condition_is_told_where_nothing_else_is():
    live = {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "Unknown", "message": "wait"},
                {"type": "PredictorReady", "status": "False", "message": "quota.\nMore"},
            ]
        }
    }

    found = find(live)

    assert found.passing
    assert found.problem == "KServe reports that it is not ready (PredictorReady: quota. More)"
