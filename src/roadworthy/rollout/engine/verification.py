"""Whether a version answers the golden batch over HTTP as it did when it was trained."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from roadworthy.bundles.bundle import Golden
from roadworthy.core.http import connect
from roadworthy.routing.routes import VERSION_HEADER

TOLERANCE = 1e-5
"""The greatest relative difference between an answer and the one at training time."""
_TRIES = 3
"""How often a request is asked that is answered 503."""
_SHOWN = 300
"""How many characters of an answer a problem quotes."""


@dataclass(frozen=True)
class Verification:
    """What the golden batch showed.

    Parameters
    ----------
    requests
        How many requests were sent.
    difference
        The greatest relative difference, infinite if a request was not answered.
    problem
        What went wrong, in a sentence; empty if nothing did.
    unreachable
        Whether the problem is that nobody answered, which may pass.
    """

    requests: int
    difference: float
    problem: str = ""
    unreachable: bool = False

    def __str__(self) -> str:
        """Return it for the terminal."""
        told = f"{self.requests} golden requests, greatest difference {self.difference:.1g}"
        return self.problem or told

    @property
    def good(self) -> bool:
        """Whether the version may go on."""
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

    Whatever the server does, or if there is none, is a problem that is told, never raised.

    Parameters
    ----------
    host
        The name that is asked for, where the address is one of many names.
    beside
        The versions that may answer instead of this one, where no version is asked for, as
        customers do: their answers are not compared.
    """
    count = len(golden.requests)
    if not count:
        return Verification(0, math.inf, "the bundle has no golden request to verify it with")
    worst = 0.0
    try:
        with connect(url, token, host) as client:
            for n in range(count):
                asked = Golden(golden.requests[n : n + 1], golden.answers[n : n + 1])
                worst = max(worst, _ask(client, model, version, asked, beside))
            worst = max(worst, _ask(client, model, version, golden, beside))
    except _Refused as refused:
        return Verification(count, math.inf, str(refused))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cause = str(error) or type(error).__name__
        told = f"a golden request got no answer from {url}: {cause}"
        return Verification(count, math.inf, told, unreachable=True)
    told = (
        f"an answer differs from the one at training time by {worst:.2g}, {TOLERANCE:g} is allowed"
    )
    return Verification(count, worst, "" if worst <= TOLERANCE else told)


class _Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The server answers, but not as it must."""


def _ask(
    client: httpx.Client,
    model: str,
    version: int,
    golden: Golden,
    beside: Collection[int] | None,
) -> float:
    """Return the greatest relative difference of the answers to a batch."""
    pinned = {VERSION_HEADER: str(version)} if beside is None else {}
    for _ in range(_TRIES):
        response = client.post(
            f"/v1/models/{model}:predict",
            json={"instances": golden.requests},
            headers=pinned,
        )
        # Also a good version takes too long when the machine is busy with something else.
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
    if response.status_code != httpx.codes.OK:
        told = " ".join(response.text[:_SHOWN].split())
        raise _Refused(f"a golden request was answered {response.status_code}: {told}")
    answered = response.headers.get(VERSION_HEADER, "one that does not say which")
    if answered in map(str, beside or ()):
        return 0.0
    if answered != str(version):
        raise _Refused(f"version {answered} answered in place of version {version}")
    answers = _answers(response)
    if len(answers) != len(golden.requests):
        raise _Refused(f"{len(golden.requests)} requests got {len(answers)} answers")
    return max(map(_difference, answers, golden.answers))


def _answers(response: httpx.Response) -> list[Any]:
    try:
        document = response.json()
    except (ValueError, RecursionError) as error:
        raise _Refused(f"an answer is no JSON: {response.text[:_SHOWN]!r}") from error
    answers = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(answers, list):
        raise _Refused(f"an answer has no list of predictions: {response.text[:_SHOWN]!r}")
    return answers


def _difference(answer: Any, expected: dict[str, float]) -> float:
    if not isinstance(answer, dict):
        raise _Refused(f"a prediction is no object of numbers: {str(answer)[:_SHOWN]!r}")
    differences = []
    for name, value in expected.items():
        found = answer.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise _Refused(f"a prediction has no number {name}: {str(answer)[:_SHOWN]!r}")
        differences.append(abs(found / value - 1) if value else abs(found))
    return max(math.inf if math.isnan(difference) else difference for difference in differences)
