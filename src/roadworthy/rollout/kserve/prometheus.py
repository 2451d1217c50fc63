"""What all pods of a model counted of two versions, as Prometheus tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from roadworthy.core.http import connect
from roadworthy.rollout.engine import analysis
from roadworthy.rollout.engine.analysis import Counts, Sample
from roadworthy.rollout.engine.state import RolloutError

_SERIES = "roadworthy_requests_total|roadworthy_request_seconds_bucket"
"""Two pods do not compare their answers, so errors and times are all that is judged."""
_HELD = "roadworthy_version"
"""A series that every pod has from its start, also when nobody has asked it anything."""
_UNUSABLE = (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, IndexError)
"""What comes of a place that is no Prometheus, or of one that is not there."""


def check(url: str) -> None:
    """See that Prometheus answers.

    Raises
    ------
    FiguresError
        It does not.
    """
    try:
        with connect(url) as client:
            _ask(client, "vector(1)")
    except _UNUSABLE as error:
        # Not in the client's words, which quote the address, and with it perhaps a password.
        told = type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            told = f"it said {error.response.status_code}"
        raise FiguresError(
            f"Prometheus does not answer at the address that ROADWORTHY_PROMETHEUS_URL names "
            f"({told}): name one that does, or unset it to roll out without figures."
        ) from None


class FiguresError(RolloutError):
    """Nobody tells the figures of versions."""


class Figures:
    """The figures of one model, summed over its pods.

    A pod that is gone tells nothing any more, and one that was made anew begins at 0. So what each
    series grew by is added up here: a sum of the pods of the moment would shrink with their number.

    Parameters
    ----------
    url
        Where Prometheus is.
    namespace, model
        Whose series are read.
    """

    def __init__(self, url: str, namespace: str, model: str) -> None:
        self._url = url
        of = f'namespace="{namespace}",model="{model}",version!=""'
        # What a server did not foresee it counts under no version: in a pod there is one alone.
        unforeseen = f'roadworthy_requests_total{{namespace="{namespace}",version="",status="500"}}'
        self._query = f'{{__name__=~"{_SERIES}",{of}}} or {unforeseen}'
        self._moments = f"timestamp({_HELD}{{{of}}})"
        self._holds: dict[str, str] = {}
        self._read_at: dict[str, float] = {}
        self._reads: Counter[str] = Counter()
        self._last: dict[tuple[tuple[str, str], ...], float] = {}
        self._grown: dict[tuple[tuple[str, str], ...], float] = {}

    def count(self, champion: int, challenger: int) -> Counts | None:
        """Return what was counted of two versions; None if Prometheus does not tell."""
        try:
            with connect(self._url) as client:
                moments, found = _ask(client, self._moments), _ask(client, self._query)
            for one in found:
                self._add(one["metric"], float(one["value"][1]))
            self._note([(one["metric"], float(one["value"][1])) for one in moments])
        except _UNUSABLE:
            return None
        counted = analysis.count(self._samples(), champion, challenger)
        return replace(
            counted,
            reads=self._reads[str(challenger)],
            champion_reads=self._reads[str(champion)],
        )

    def _note(self, moments: Sequence[tuple[Mapping[str, str], float]]) -> None:
        """Note when the pods were read last, and which version each of them holds."""
        oldest: dict[str, float] = {}
        for pod, moment in moments:
            version = pod["version"]
            self._holds[pod.get("pod", "")] = version
            oldest[version] = min(moment, oldest.get(version, moment))
        # Each pod was read anew when the one that was read first is.
        for version, moment in oldest.items():
            if moment > self._read_at.get(version, 0.0):
                self._read_at[version] = moment
                self._reads[version] += 1

    def _add(self, labels: dict[str, Any], value: float) -> None:
        key = tuple(sorted((str(name), str(told)) for name, told in labels.items()))
        before = self._last.get(key, 0.0)
        self._last[key] = value
        self._grown[key] = self._grown.get(key, 0.0) + (
            value - before if value >= before else value
        )

    def _samples(self) -> Iterable[Sample]:
        for key, value in self._grown.items():
            labels = dict(key)
            labels.setdefault("version", self._holds.get(labels.get("pod", ""), ""))
            yield labels["__name__"], labels, value


def _ask(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": query})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
    return found
