"""Verify that a version answers the golden batch over HTTP as it did when it was trained."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import httpx
from pydantic import SecretStr

from roadworthy.bundles.bundle import Golden
from roadworthy.core.http import connect
from roadworthy.models.agreement import DEFAULT, Agreement
from roadworthy.routing.routes import VERSION_HEADER

_TRIES = 3
"""The number of attempts for a request that is answered 503."""
_SHOWN = 300
"""The most characters of a response that a problem quotes."""


@dataclass(frozen=True)
class Verification:
    """The result of a golden batch.

    Parameters
    ----------
    requests
        The number of requests that were sent.
    difference
        The greatest difference of the field that comes closest to its tolerance, infinite if a
        request was not answered.
    problem
        What went wrong, in a sentence; empty if nothing did.
    unreachable
        Whether the problem is that there was no response, which may be temporary.
    allowed
        The tolerance of that field.
    """

    requests: int
    difference: float
    problem: str = ""
    unreachable: bool = False
    allowed: float = DEFAULT.relative

    def __str__(self) -> str:
        """Return it for the terminal."""
        told = f"{self.requests} golden requests, greatest difference {self.difference:.1g}"
        return self.problem or told

    @property
    def good(self) -> bool:
        """Whether the version passed."""
        return not self.problem


def verify(
    url: str,
    model: str,
    version: int,
    golden: Golden,
    *,
    token: SecretStr | None = None,
    host: str = "",
    beside: Collection[int] | None = None,
) -> Verification:
    """Send the golden requests to one version, each alone and all in a batch, and compare.

    Wrong or missing responses are returned as a problem, never raised.

    Parameters
    ----------
    host
        The host name to request, where the address serves several.
    beside
        The versions that may answer instead, if the requests name no version, as those of clients
        do: their answers are not compared. If None, the requests name the version.
    """
    count = len(golden.requests)
    if not count:
        return Verification(0, math.inf, "the bundle has no golden request to verify it with")
    alone = [
        replace(golden, requests=[request], answers=[answer])
        for request, answer in zip(golden.requests, golden.answers, strict=True)
    ]
    try:
        with connect(url, token, host) as client:
            found = [_ask(client, model, version, asked, beside) for asked in (*alone, golden)]
    except _Refused as refused:
        return Verification(count, math.inf, str(refused))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cause = str(error) or type(error).__name__
        told = f"a golden request got no answer from {url}: {cause}"
        return Verification(count, math.inf, told, unreachable=True)
    worst = max(found, key=lambda one: (not one.agrees, one.difference))
    told = f"an answer differs from the one at training time: {worst}"
    return Verification(
        count,
        worst.difference,
        problem="" if worst.agrees else told,
        allowed=worst.allowed.get(worst.worst, DEFAULT.relative),
    )


class _Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The response does not follow the protocol."""


def _ask(
    client: httpx.Client,
    model: str,
    version: int,
    golden: Golden,
    beside: Collection[int] | None,
) -> Agreement:
    """Return how far the answers to a batch differ from those at training time."""
    pinned = {VERSION_HEADER: str(version)} if beside is None else {}
    for _ in range(_TRIES):
        response = client.post(
            f"/v1/models/{model}:predict",
            json={"instances": golden.requests},
            headers=pinned,
        )
        # A good version may be too slow, too, while the machine is busy.
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
    if response.status_code != httpx.codes.OK:
        told = " ".join(response.text[:_SHOWN].split())
        raise _Refused(f"a golden request was answered {response.status_code}: {told}")
    answered = response.headers.get(VERSION_HEADER, "one that does not say which")
    if answered in map(str, beside or ()):
        return Agreement({}, {})
    if answered != str(version):
        raise _Refused(f"version {answered} answered in place of version {version}")
    answers = _answers(response)
    if len(answers) != len(golden.requests):
        raise _Refused(f"{len(golden.requests)} requests got {len(answers)} answers")
    names = {name for answer in answers for name in answer}
    return golden.agreement({name: [answer.get(name) for answer in answers] for name in names})


def _answers(response: httpx.Response) -> list[dict[str, Any]]:
    try:
        document = response.json()
    except (ValueError, RecursionError) as error:
        raise _Refused(f"an answer is no JSON: {response.text[:_SHOWN]!r}") from error
    answers = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(answers, list):
        raise _Refused(f"an answer has no list of predictions: {response.text[:_SHOWN]!r}")
    for answer in answers:
        if not isinstance(answer, dict):
            raise _Refused(f"a prediction is no object of fields: {str(answer)[:_SHOWN]!r}")
    return answers
