"""Diagnose why a version does not become ready on a cluster. Pure functions.

Pods show most causes, events show why there is no pod, and the conditions of the InferenceService
show the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]

_FINAL = {
    "ImagePullBackOff": "its image cannot be pulled",
    "InvalidImageName": "its image has no valid name",
    "ErrImageNeverPull": "its image is not on the node, and may not be pulled",
    "CreateContainerConfigError": "its container refers to something that does not exist",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be run",
    "CrashLoopBackOff": "its container ends again and again",
}
"""The problems that are permanent, by the reason of a waiting container."""
_FETCHING = "storage-initializer"
"""KServe's container that fetches the bundle before the server starts."""
_STATUSES = {"BlockedByFailedLoad", "InvalidSpec"}
_LONGEST = 300


@dataclass(frozen=True)
class Finding:
    """A problem of a version.

    Parameters
    ----------
    problem
        The problem, to follow a colon.
    passing
        Whether it may be temporary, so that it is given some time.
    """

    problem: str
    passing: bool = False


def diagnose(
    live: Json, pods: Sequence[Json], events: Sequence[Json], *, owner: str, since: str
) -> Finding | None:
    """Return why a version does not become ready; None if no problem is found.

    Parameters
    ----------
    live
        The InferenceService.
    pods
        The pods of the version.
    events
        Warnings of the namespace.
    owner
        The prefix of the names of the objects that make the version's pods.
    since
        When it was applied, in ISO 8601: earlier events are ignored.
    """
    now = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    found = [
        *(finding for pod in now for finding in _of_pod(pod)),
        *_of_events(events, [pod["metadata"]["name"] for pod in now], owner, since),
        *_of_conditions(live),
    ]
    return min(found, key=lambda finding: finding.passing, default=None)


def is_ready(pod: Json) -> bool:
    """Return whether a pod is ready, and not being deleted."""
    told = (pod.get("status") or {}).get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in told)
    return ready and not pod["metadata"].get("deletionTimestamp")


def conditions(live: Json) -> str:
    """Return the problems in the conditions of an InferenceService; empty if none."""
    return "; ".join(finding.problem for finding in _of_conditions(live))


def _of_pod(pod: Json) -> Iterator[Finding]:
    status = pod.get("status") or {}
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        yield from _of_container(container)
    for condition in status.get("conditions") or []:
        if condition.get("reason") == "Unschedulable":
            told = f"no node has room for its pod ({_brief(condition.get('message', ''))})"
            yield Finding(told, passing=True)


def _of_container(container: Json) -> Iterator[Finding]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in _FINAL:
        fetching = container.get("name") == _FETCHING and reason == "CrashLoopBackOff"
        told = "its bundle cannot be fetched" if fetching else _FINAL[reason]
        last = _last_words(container) or waiting.get("message", "")
        yield Finding(f"{told} ({_brief(last) or reason})")
    elif reason == "ErrImagePull":
        yield Finding(f"its image is not pulled ({_brief(waiting.get('message', ''))})", True)
    elif container.get("restartCount") and not container.get("ready"):
        yield Finding(f"its container ended ({_brief(_last_words(container))})", passing=True)


def _last_words(container: Json) -> str:
    """Return how a container ended last, and the last line of its log."""
    for when in ("state", "lastState"):
        ended = (container.get(when) or {}).get("terminated")
        if ended:
            how = ended.get("reason", "")
            said = str(ended.get("message", "")).strip().splitlines()
            parts = (f"{how}, exit code {ended.get('exitCode')}", *said[-1:])
            return ": ".join(part for part in parts if part)
    return ""


def _of_events(
    events: Sequence[Json], pods: Sequence[str], owner: str, since: str
) -> Iterator[Finding]:
    for event in events:
        name = (event.get("involvedObject") or {}).get("name", "")
        ours = name in pods or name == owner or name.startswith(f"{owner}-")
        if not ours or not _is_after(event, since):
            continue
        message = str(event.get("message", ""))
        if "exceeded quota" in message or "failed quota" in message:
            yield Finding(f"the namespace's quota does not allow its pod ({_brief(message)})")
        elif event.get("reason") in ("FailedCreate", "FailedMount", "FailedScheduling"):
            yield Finding(f"its pod does not start ({_brief(message)})", passing=True)


def _is_after(event: Json, since: str) -> bool:
    told = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp")
    if not told or not since:
        return True
    # The time of an event has a resolution of one second.
    return datetime.fromisoformat(told) >= datetime.fromisoformat(since).replace(microsecond=0)


def _of_conditions(live: Json) -> Iterator[Finding]:
    status = live.get("status") or {}
    failed = (status.get("modelStatus") or {}).get("lastFailureInfo") or {}
    if (status.get("modelStatus") or {}).get("transitionStatus") in _STATUSES:
        told = failed.get("message") or failed.get("reason") or "without a reason"
        yield Finding(f"KServe reports that the version cannot be served ({_brief(told)})", True)
    for condition in status.get("conditions") or []:
        # During progress, a condition is Unknown, or False without a message.
        if condition.get("status") == "False" and condition.get("message"):
            told = f"{condition.get('type')}: {condition['message']}"
            yield Finding(f"KServe reports that it is not ready ({_brief(told)})", passing=True)


def _brief(text: str) -> str:
    told = " ".join(str(text).split()).rstrip(".")
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
