"""The traffic of two versions, summed over the pods of a model, as each pod counts it.

Pods are read through the API server, which is reached from everywhere, also from a laptop. It
removes the header ``Authorization``, so a server with a token must have a port for its metrics
alone: ``--metrics-port`` among the arguments of its container, where it is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from roadworthy.rollout.engine import analysis
from roadworthy.rollout.engine.analysis import Sample, TrafficStats
from roadworthy.rollout.kserve import diagnosis, inference_service
from roadworthy.rollout.kserve.cluster import Cluster, ClusterError
from roadworthy.rollout.kserve.counters import Counters

_OPTION = "--metrics-port"
_PORT = 8080
"""The port of requests, where a server without a port for its metrics has them too."""
_AT_ONCE = 8
"""How many pods are read at a time."""

Json = Mapping[str, Any]


class PodStats:
    """The traffic of one model, summed over its pods.

    Parameters
    ----------
    cluster
        The cluster.
    model
        The model whose pods are read.
    """

    def __init__(self, cluster: Cluster, model: str) -> None:
        self._cluster = cluster
        self._selector = f"{inference_service.SERVICE_LABEL}={model}"
        self._model = model
        self._counters = Counters()

    def count(self, champion: int, challenger: int) -> TrafficStats:
        """Return the traffic of two versions since their pods started.

        A pod that is not ready is read if that is possible.

        Raises
        ------
        ClusterError
            A pod that is ready cannot be read.
        """
        versions = {str(champion), str(challenger)}
        pods = [
            pod
            for pod in self._cluster.pods(self._selector)
            if _version(pod) in versions and (pod.get("status") or {}).get("podIP")
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            texts = list(pool.map(self._read, pods))
        for pod, text in zip(pods, texts, strict=True):
            for sample in _samples(text, self._model, _version(pod)):
                self._counters.add(_start(pod), sample)
        return analysis.count(self._counters.samples(), champion, challenger)

    def _read(self, pod: Json) -> str:
        try:
            return self._cluster.pod_page(pod["metadata"]["name"], _port(pod), "metrics")
        except ClusterError:
            if diagnosis.is_ready(pod):
                raise
            return ""


def _version(pod: Json) -> str:
    return str((pod["metadata"].get("labels") or {}).get(inference_service.VERSION_LABEL, ""))


def _start(pod: Json) -> tuple[str, int]:
    """Return what identifies a pod and the present start of its containers."""
    containers = pod["status"].get("containerStatuses") or []
    return pod["metadata"]["uid"], sum(one.get("restartCount", 0) for one in containers)


def _port(pod: Json) -> int:
    """Return the port of a pod's metrics, from the arguments of its containers."""
    for container in pod["spec"]["containers"]:
        words = [word for one in container.get("args") or [] for word in str(one).split("=", 1)]
        for option, value in pairwise(words):
            if option == _OPTION and value.isdecimal():
                return int(value)
    return _PORT


def _samples(text: str, model: str, version: str) -> Iterator[Sample]:
    """Yield the samples of a model in a pod's page.

    Raises
    ------
    ClusterError
        It is not in the format of Prometheus.
    """
    try:
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples:
                if labels.get("model") == model:
                    yield name, labels, float(value)
                # An unexpected error is counted under no version; a pod holds one version only.
                elif not labels.get("version", "-") and labels.get("status") == "500":
                    yield name, {**labels, "version": version}, float(value)
    except ValueError as error:
        raise ClusterError(f"The metrics of a pod of {model} cannot be read ({error}).") from error
