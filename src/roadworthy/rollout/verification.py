"""Whether a version answers the golden batch over HTTP as it did when it was trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import httpx

from roadworthy.bundle import Golden

VERSION_HEADER = "x-roadworthy-version"
TOLERANCE = 1e-5
"""The greatest relative difference between an answer and the one at training time."""
_TIMEOUT_SECONDS = 10.0


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
    """

    requests: int
    difference: float
    problem: str = ""

    def __str__(self) -> str:
        """Return it for the terminal."""
        told = f"{self.requests} golden requests, greatest difference {self.difference:.1g}"
        return self.problem or told

    @property
    def good(self) -> bool:
        """Whether the version may go on."""
        return not self.problem


def verify(url: str, model: str, version: int, golden: Golden) -> Verification:
    """Send the golden requests to one version, each alone and all in a batch, and compare."""
    count = len(golden.requests)
    batches = [[request] for request in golden.requests] + [golden.requests]
    answers: list[dict[str, float]] = []
    with httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS) as client:
        for batch in batches:
            problem = _ask(client, model, version, batch, answers)
            if problem:
                return Verification(count, math.inf, problem)
    expected = golden.answers + golden.answers
    worst = max(_difference(a, e) for a, e in zip(answers, expected, strict=True))
    told = (
        f"an answer differs from the one at training time by {worst:.2g}, {TOLERANCE:g} is allowed"
    )
    return Verification(count, worst, "" if worst <= TOLERANCE else told)


def _ask(
    client: httpx.Client,
    model: str,
    version: int,
    batch: list[dict[str, object]],
    answers: list[dict[str, float]],
) -> str:
    """Add the answers to a batch; return what went wrong."""
    try:
        response = client.post(
            f"/v1/models/{model}:predict",
            json={"instances": batch},
            headers={VERSION_HEADER: str(version)},
        )
        if response.status_code != httpx.codes.OK:
            return f"a golden request was answered {response.status_code}: {response.text[:300]}"
        answered = response.headers.get(VERSION_HEADER)
        if answered != str(version):
            return f"version {answered} answered in place of version {version}"
        predictions = response.json()["predictions"]
    except httpx.HTTPError as error:
        return f"a golden request got no answer from {client.base_url}: {error!r}"
    except (ValueError, KeyError) as error:
        return f"an answer is not what the protocol says: {error!r}"
    if len(predictions) != len(batch):
        return f"{len(batch)} requests got {len(predictions)} answers"
    answers += predictions
    return ""


def _difference(answer: dict[str, float], expected: dict[str, float]) -> float:
    differences = (
        abs(answer.get(name, math.nan) / value - 1) if value else abs(answer.get(name, math.nan))
        for name, value in expected.items()
    )
    return max(math.inf if math.isnan(difference) else difference for difference in differences)
