"""The traffic of two versions, summed over the pods of a model, from Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from roadworthy.core.http import connect
from roadworthy.rollout.engine import analysis
from roadworthy.rollout.engine.analysis import Sample, TrafficStats
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.counters import Counters

_SERIES = (
    "roadworthy_requests_total|roadworthy_model_seconds_bucket|"
    "roadworthy_prediction_bucket|roadworthy_prediction_labels_total"
)
_HELD = "roadworthy_version"
"""A series that every pod has from its start, also without requests."""
_UNUSABLE = (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, IndexError)
"""The errors of an address where no Prometheus answers."""


def check(url: str) -> None:
    """Check that Prometheus answers.

    Raises
    ------
    MetricsError
        It does not.
    """
    try:
        with connect(url) as client:
            _ask(client, "vector(1)")
    except _UNUSABLE as error:
        # Not the client's message: it quotes the address, perhaps with a password.
        told = type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            told = f"it answered {error.response.status_code}"
        raise MetricsError(
            f"Prometheus does not answer at the address that ROADWORTHY_PROMETHEUS_URL names "
            f"({told}): name one that does, or unset it to read the pods themselves."
        ) from None


class MetricsError(RolloutError):
    """The metrics of versions cannot be read."""


class PrometheusStats:
    """The traffic of one model, summed over its pods.

    Parameters
    ----------
    url
        The address of Prometheus.
    namespace, model
        The model whose series are read.
    """

    def __init__(self, url: str, namespace: str, model: str) -> None:
        self._url = url
        of = f'namespace="{namespace}",model="{model}",version!=""'
        # A server counts unexpected errors under no version; a pod holds one version only.
        unforeseen = f'roadworthy_requests_total{{namespace="{namespace}",version="",status="500"}}'
        self._query = f'{{__name__=~"{_SERIES}",{of}}} or {unforeseen}'
        self._moments = f"timestamp({_HELD}{{{of}}})"
        self._holds: dict[str, str] = {}
        self._read_at: dict[str, float] = {}
        self._reads: Counter[str] = Counter()
        self._counters = Counters()

    def count(self, champion: int, challenger: int) -> TrafficStats | None:
        """Return the traffic of two versions; None if Prometheus does not answer."""
        try:
            with connect(self._url) as client:
                moments, found = _ask(client, self._moments), _ask(client, self._query)
            for one in found:
                labels = {str(name): str(told) for name, told in one["metric"].items()}
                self._counters.add(None, (labels["__name__"], labels, float(one["value"][1])))
            self._note([(one["metric"], float(one["value"][1])) for one in moments])
        except _UNUSABLE:
            return None
        stats = analysis.count(self._samples(), champion, challenger)
        return replace(
            stats,
            reads=self._reads[str(challenger)],
            champion_reads=self._reads[str(champion)],
        )

    def _note(self, moments: Sequence[tuple[Mapping[str, str], float]]) -> None:
        """Note when the pods were scraped last, and the version of each."""
        oldest: dict[str, float] = {}
        for pod, moment in moments:
            version = pod["version"]
            self._holds[pod.get("pod", "")] = version
            oldest[version] = min(moment, oldest.get(version, moment))
        # All pods were scraped again when the one that was scraped first is.
        for version, moment in oldest.items():
            if moment > self._read_at.get(version, 0.0):
                self._read_at[version] = moment
                self._reads[version] += 1

    def _samples(self) -> Iterable[Sample]:
        for name, labels, value in self._counters.samples():
            version = self._holds.get(labels.get("pod", ""), "")
            yield name, {"version": version, **labels}, value


def _ask(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": query})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
    return found
