"""The metrics of a server at ``/metrics``.

A response only appends to a list. The metrics are updated a few times a second, many responses at a
time, because a histogram of Prometheus's client takes as long as a model's answer. With the
variable ``PROMETHEUS_MULTIPROC_DIR``, the metrics of all processes that share the directory are
added up, including those of processes that ended.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from roadworthy.bundles.scoring import Columns
from roadworthy.models.agreement import DEFAULT, differences
from roadworthy.serving.models.model_store import LoadedVersion, ModelStore
from roadworthy.serving.models.repetition import EffectiveRows

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()

_FLUSH_SECONDS = 0.2
_FLUSH_ANSWERS = 128
_LATENCIES = (
    *(0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
_MODEL_TIMES = tuple(float(f"{10 ** (tenth / 10):.3g}") for tenth in range(-50, 11))
"""From 10 µs to 10 s, ten a decade: fine enough to tell three times a duration from twice."""
_DIFFERENCES = (1e-6, 1e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0)
_NUMBERS = "fiu"
"""The numpy kinds that are observed as numbers. All others are labels."""
_MOST_LABELS = 100
"""The most labels of an output; further ones are counted as :data:`_OTHER`."""
_OTHER = "other"


class Observation(NamedTuple):
    """One response.

    ``seconds`` is the time from its request to it, ``model_seconds`` the model's own time; None
    where the client chose the version.
    """

    loaded: LoadedVersion | None
    protocol: str
    status: int
    seconds: float
    answers: Columns | None
    model_seconds: float | None = None


class Metrics:
    """The metrics of one server.

    Parameters
    ----------
    fleet
        The versions, whose current role, weight and age are exposed.
    in_flight
        Returns the number of requests in flight.
    """

    def __init__(self, store: ModelStore, in_flight: Callable[[], int] = lambda: 0) -> None:
        self._now_in_flight = in_flight
        self._registry = CollectorRegistry()
        self._pending: list[Observation] = []
        self._flushing = threading.Lock()
        self._due = False
        self._distributions: dict[tuple[str, ...], _Bulk] = {}
        self._effective_rows: dict[str, tuple[str, EffectiveRows]] = {}
        self._known_labels: dict[tuple[str, str], set[str]] = {}
        counter = partial(Counter, registry=self._registry)
        histogram = partial(_Bulk, registry=self._registry)
        version, pair = ("model", "version"), ("model", "challenger")
        self._requests = counter(
            "roadworthy_requests", "Requests that got a response.", (*version, "protocol", "status")
        )
        self._seconds = histogram(
            *("roadworthy_request_seconds", "Time from a request's body to its response."),
            version,
            buckets=_LATENCIES,
        )
        self._model_seconds = histogram(
            "roadworthy_model_seconds",
            "CPU time of the model for a request for no particular version.",
            version,
            buckets=_MODEL_TIMES,
        )
        self._fallbacks = counter(
            *("roadworthy_fallbacks", "Requests that the champion answered for the challenger."),
            (*version, "reason"),
        )
        self._shadow = counter(
            *("roadworthy_shadow", "Requests that both versions answered, or were to answer."),
            (*pair, "outcome"),
        )
        self._labels = counter(
            *("roadworthy_prediction_labels", "Answers that are labels."),
            (*version, "output", "label"),
        )
        self._shadow_labels = counter(
            *("roadworthy_shadow_labels", "Labels of both versions for the same requests."),
            (*pair, "output", "role", "label"),
        )
        self._difference = histogram(
            "roadworthy_shadow_difference",
            "Relative difference of a challenger's answers from the champion's; of labels 0 or 1.",
            (*pair, "output"),
            buckets=_DIFFERENCES,
        )
        self._effective = Gauge(
            "roadworthy_shadow_effective_rows",
            "Number of different rows that tell as much as those both versions answered.",
            pair,
            registry=self._registry,
            multiprocess_mode="max",
        )
        self.in_flight = Gauge(
            *("roadworthy_in_flight", "Requests in flight."),
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._registry.register(_Distributions(self._distributions))
        self._versions = _VersionCollector(store)

    def observe(self, observation: Observation) -> None:
        """Count a response. Call this on the event loop."""
        self._pending.append(observation)
        if len(self._pending) >= _FLUSH_ANSWERS:
            self.flush()
        self._flush_soon()

    def fell_back(self, challenger: LoadedVersion, reason: str) -> None:
        """Count a request that the champion answered instead of the challenger."""
        name, number = _version(challenger)
        self._fallbacks.labels(name, number, reason).inc()

    def compared(
        self, challenger: LoadedVersion, columns: Columns, *, theirs: Columns, ours: Columns
    ) -> None:
        """Observe the answers of both versions to the same rows, with these input columns."""
        model, number = _version(challenger)
        if self._effective_rows.get(model, ("",))[0] != number:
            self._effective_rows[model] = (number, EffectiveRows())
        rows = self._effective_rows[model][1].add(columns)
        self._effective.labels(model, number).set(rows)
        tolerances = challenger.manifest.tolerances
        self._shadow.labels(model, number, "compared").inc()
        for output in ours.keys() & theirs.keys():
            for role, answers in (("challenger", ours), ("champion", theirs)):
                labels = {"model": model, "challenger": number, "output": output, "role": role}
                values = _flat(answers[output])
                if values.dtype.kind not in _NUMBERS:
                    for label, count in self._counted(model, output, values):
                        self._shadow_labels.labels(**labels, label=label).inc(count)
                    continue
                found = self._distribution(
                    "roadworthy_shadow_prediction",
                    "Answers of both versions to the same requests.",
                    labels,
                    # without the extremes, whose bins would be filled by chance
                    _spread(challenger, output, "quantiles")[1:-1] or (0.0,),
                )
                found.observe_all(values)
            tolerance = tolerances.get(output, DEFAULT)
            found_differences = differences(theirs[output], ours[output], tolerance)
            # infinite and large differences count as the last bucket's bound
            bounded = np.minimum(found_differences, _DIFFERENCES[-1])
            self._difference.labels(model, number, output).observe_all(bounded)

    def not_compared(self, challenger: LoadedVersion, outcome: str) -> None:
        """Count a request that only one version answered."""
        model, number = _version(challenger)
        self._shadow.labels(model, number, outcome).inc()

    def flush(self) -> None:
        """Update the metrics."""
        with self._flushing:
            pending, self._pending = self._pending, []
            self._count(pending)
        self.in_flight.set(self._now_in_flight())

    def refused(self, protocol: str, status: int) -> None:
        """Count a request that reached no version. Call this on the event loop."""
        self.observe(Observation(None, protocol, status, 0.0, None))

    async def text(self) -> bytes:
        """Return the metrics in Prometheus's text format, made in a thread: files may be many."""
        self.flush()
        return await asyncio.to_thread(self._text)

    def _text(self) -> bytes:
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(self._versions)

    def _flush_soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush_when_due)

    def _flush_when_due(self) -> None:
        self._due = False
        self.flush()
        if self._now_in_flight():  # until it is 0: other processes expose the last value
            self._flush_soon()

    def _count(self, pending: Sequence[Observation]) -> None:
        responses = Tally((one.loaded, one.protocol, one.status) for one in pending)
        for (loaded, protocol, status), count in responses.items():
            name, number = _version(loaded)
            self._requests.labels(name, number, protocol, str(status)).inc(count)
        good: dict[LoadedVersion, list[Observation]] = {}
        for one in pending:
            if one.loaded is not None and one.answers is not None:
                good.setdefault(one.loaded, []).append(one)
        for loaded, answered in good.items():
            times = np.array([one.seconds for one in answered])
            self._seconds.labels(*_version(loaded)).observe_all(times)
            own = [one.model_seconds for one in answered if one.model_seconds is not None]
            if own:
                self._model_seconds.labels(*_version(loaded)).observe_all(np.array(own))
            for output in loaded.scorer.outputs:
                values = [one.answers[output] for one in answered if one.answers is not None]
                self._count_answers(loaded, output, values)

    def _count_answers(
        self, loaded: LoadedVersion, output: str, columns: Sequence[npt.NDArray[Any]]
    ) -> None:
        model, version = _version(loaded)
        values = np.concatenate([_flat(column) for column in columns])
        if values.dtype.kind not in _NUMBERS:
            for label, count in self._counted(model, output, values):
                self._labels.labels(model, version, output, label).inc(count)
            return
        found = self._distribution(
            "roadworthy_prediction",
            "Answers that are numbers.",
            {"model": model, "version": version, "output": output},
            _spread(loaded, output, "edges"),
        )
        found.observe_all(values)

    def _counted(
        self, model: str, output: str, values: npt.NDArray[Any]
    ) -> Iterator[tuple[str, int]]:
        """Yield each label with its count, or ``other`` if an output has too many labels."""
        known = self._known_labels.setdefault((model, output), set())
        for label, count in _labels(values).items():
            if label not in known and len(known) >= _MOST_LABELS:
                yield _OTHER, count
            else:
                known.add(label)
                yield label, count

    def _distribution(
        self, name: str, text: str, labels: Mapping[str, str], edges: tuple[float, ...]
    ) -> _Bulk:
        key = (name, *labels.values())
        if key not in self._distributions:
            # Each version has its own edges, which one histogram of the client cannot have.
            whole = _Bulk(name, text, tuple(labels), buckets=edges, registry=None)
            self._distributions[key] = whole
        return self._distributions[key].labels(**labels)


class _Bulk(Histogram):
    """A histogram that observes many values at once."""

    def observe_all(self, values: npt.NDArray[Any]) -> None:
        """Observe values, in any order."""
        places = np.searchsorted(self._upper_bounds, values)
        for place, count in enumerate(np.bincount(places).tolist()):
            if count:
                self._buckets[place].inc(count)
        self._sum.inc(float(values.sum()))


class _Distributions(Collector):
    """Exposes histograms with the same name as one family."""

    def __init__(self, distributions: Mapping[tuple[str, ...], _Bulk]) -> None:
        self._distributions = distributions

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for distribution in list(self._distributions.values()):
            for found in distribution.collect():
                family = families.setdefault(found.name, found)
                if family is not found:
                    family.samples.extend(found.samples)
        yield from families.values()


class _VersionCollector(Collector):
    """Exposes the loaded versions with role, traffic weight and age."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        labels = ("model", "version", "role")
        version = GaugeMetricFamily("roadworthy_version", "The loaded versions.", labels=labels)
        age = GaugeMetricFamily(
            "roadworthy_version_age_seconds", "Time since its release.", labels=labels
        )
        # the second name is the former one, kept for one release
        weights = [
            GaugeMetricFamily(name, "Percent of the requests.", labels=("model", "version"))
            for name in ("roadworthy_traffic_weight", "roadworthy_share")
        ]
        now = datetime.now(UTC)
        for model in self._store.models.values():
            for part in model.split:
                names = (model.name, str(part.loaded.version), part.role)
                since = datetime.fromisoformat(part.loaded.release.since)
                version.add_metric(names, 1)
                age.add_metric(names, max(0.0, (now - since).total_seconds()))
                for weight in weights:
                    weight.add_metric(names[:2], part.weight)
        yield from (version, age, *weights)


def _version(loaded: LoadedVersion | None) -> tuple[str, str]:
    return ("", "") if loaded is None else (loaded.manifest.model, str(loaded.version))


def _flat(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values of a column, those of lists one by one."""
    if column.dtype == object and len(column) and isinstance(column[0], np.ndarray):
        return np.concatenate(column)
    return column.reshape(-1)


def _labels(values: npt.NDArray[Any]) -> Mapping[str, int]:
    """Return the number of each label. Booleans are ``true`` and ``false``."""
    if values.dtype.kind == "b":
        return Tally("true" if value else "false" for value in values.tolist())
    return Tally(map(str, values.tolist()))


def _spread(loaded: LoadedVersion, output: str, what: str) -> tuple[float, ...]:
    """Return bucket bounds from the distribution of the training predictions."""
    known = loaded.predictions.get(output, {}).get(what, [])
    return tuple(sorted({float(edge) for edge in known})) or (0.0,)
