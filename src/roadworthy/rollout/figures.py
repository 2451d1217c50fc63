"""What all pods of a model counted of two versions, as Prometheus tells it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from roadworthy.rollout import judgement
from roadworthy.rollout.connection import connect
from roadworthy.rollout.judgement import Counts, Sample

_SERIES = "roadworthy_requests_total|roadworthy_request_seconds_bucket"
"""Two pods do not compare their answers, so errors and times are all that is judged."""


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
        self._query = (
            f'{{__name__=~"{_SERIES}",namespace="{namespace}",model="{model}",version!=""}}'
        )
        self._last: dict[tuple[tuple[str, str], ...], float] = {}
        self._grown: dict[tuple[tuple[str, str], ...], float] = {}

    def count(self, champion: int, challenger: int) -> Counts | None:
        """Return what was counted of two versions; None if Prometheus does not tell."""
        try:
            with connect(self._url) as client:
                answer = client.get("/api/v1/query", params={"query": self._query})
            found = answer.raise_for_status().json()["data"]["result"]
            for one in found:
                self._add(one["metric"], float(one["value"][1]))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, IndexError):
            return None
        return judgement.count(self._samples(), champion, challenger)

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
            yield labels["__name__"], labels, value
