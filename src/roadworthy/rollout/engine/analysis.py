"""Canary analysis: whether a challenger does well enough on live traffic. Pure functions.

Two allowances for noise keep a good challenger from being rolled back by chance. One or two errors
or slow responses may come from the machine, so a rate counts only from ``MINIMUM_FAILURES`` on. And
two distributions of few rows differ by chance, so what chance explains is added to the limit of the
stability index.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from roadworthy.rollout.engine.state import MetricResult

MINIMUM_FAILURES = 3
"""Fewer errors, or slow responses, do not fail an analysis."""
SMALLEST_DIFFERENCE = 0.05
"""Answers with a smaller mean difference count as equal, wherever the edges of the bins are."""
_QUANTILE = 0.99
_SURE = 0.999
_NORMAL_999 = 3.09
"""The 99.9 % quantile of the normal distribution."""

_REASONS = ("error", "timeout", "busy", "breaker")

Histogram = Mapping[float, float]
"""The number of values up to each edge; the last edge is infinite."""
Labels = Mapping[str, float]
"""The number of answers with each label."""
Sample = tuple[str, Mapping[str, str], float]
"""The name of a series, its labels and its value."""


@dataclass(frozen=True)
class Bounds:
    """The limits that a challenger must keep.

    Parameters
    ----------
    max_error_rate
        The greatest fraction of its requests that may fail.
    max_p99_ratio, p99_allowance_ms
        Its 99th percentile may be the champion's times the ratio, plus the allowance.
    max_psi
        The greatest population stability index of its predictions against the champion's.
    max_difference
        The greatest mean relative difference from the champion's prediction of the same row.
    min_requests
        With fewer requests, or rows, only errors are analysed.
    """

    max_error_rate: float = 0.01
    max_p99_ratio: float = 2.0
    p99_allowance_ms: float = 50.0
    max_psi: float = 0.25
    max_difference: float = 0.25
    min_requests: int = 20


@dataclass(frozen=True)
class TrafficStats:
    """The traffic of a champion and a challenger, since the server started or in an interval.

    Parameters
    ----------
    requests, failures
        The number of requests that the challenger answered, and of its 5xx responses.
    champion_requests
        The number of requests that the champion answered.
    fallbacks
        The number of requests that the champion answered because the challenger failed, by reason.
    shadow
        The number of shadow comparisons, by outcome.
    seconds, champion_seconds
        The histograms of the response times.
    predictions, champion_predictions
        For each output the histograms of both versions' answers to the same rows.
    labels, champion_labels
        For each output that is a label or a boolean the number of answers with each label.
    differences
        For each output the sum of the relative differences, and the number of rows. The difference
        of two labels is 0 or 1.
    unavailable
        Whether no metrics are collected, so that nothing is known about the clients' requests.
    reads, champion_reads
        How often the metrics of each version were scraped, where that happens from time to time, as
        with Prometheus; None where they are current.
    """

    requests: float = 0
    failures: float = 0
    champion_requests: float = 0
    fallbacks: Mapping[str, float] = field(default_factory=dict)
    shadow: Mapping[str, float] = field(default_factory=dict)
    seconds: Histogram = field(default_factory=dict)
    champion_seconds: Histogram = field(default_factory=dict)
    predictions: Mapping[str, Histogram] = field(default_factory=dict)
    champion_predictions: Mapping[str, Histogram] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    champion_labels: Mapping[str, Labels] = field(default_factory=dict)
    differences: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unavailable: bool = False
    reads: int | None = None
    champion_reads: int | None = None

    @property
    def asked(self) -> int:
        """The number of clients' requests that were sent to the challenger."""
        return round(self.requests + sum(self.fallbacks.values()))

    @property
    def compared(self) -> int:
        """The number of rows that both versions answered."""
        return round(max((rows for _, rows in self.differences.values()), default=0))

    @property
    def traffic(self) -> int:
        """How much the clients sent: 0 if nothing, else more than one count for each request.

        The challenger's own responses are left out, as its golden batch is among them, and each of
        the clients' requests is also sent to the champion. Without metrics there may be some.
        """
        fallbacks, shadow = self.fallbacks.values(), self.shadow.values()
        return round(self.champion_requests + sum(fallbacks) + sum(shadow)) or int(self.unavailable)

    def plus(self, more: TrafficStats) -> TrafficStats:
        """Return the traffic of this interval and of a later one together."""
        names = [one.name for one in fields(self)]
        return TrafficStats(**{n: _added(getattr(self, n), getattr(more, n)) for n in names})

    def since(self, before: TrafficStats) -> TrafficStats:
        """Return the traffic since an earlier reading; all of it where the server was restarted."""
        names = [one.name for one in fields(self)]
        return TrafficStats(**{n: _grown(getattr(self, n), getattr(before, n)) for n in names})


@dataclass(frozen=True)
class Analysis:
    """The result of an analysis.

    Parameters
    ----------
    metrics
        Each metric with its limit.
    champion_p99_ms
        The champion's 99th percentile; None where it had no request.
    problem
        Why the challenger failed, in words; empty if it did not.
    inconclusive
        Why more requests are needed for a result, in words; empty if none are.
    """

    metrics: tuple[MetricResult, ...]
    champion_p99_ms: float | None
    problem: str = ""
    inconclusive: str = ""


def read(text: str, model: str, champion: int, challenger: int) -> TrafficStats:
    """Return the traffic of two versions of a model from a server's ``/metrics``.

    Raises
    ------
    ValueError
        The text is not in the format of Prometheus.
    """
    return count(_samples(text, model), champion, challenger)


def count(samples: Iterable[Sample], champion: int, challenger: int) -> TrafficStats:
    """Return the traffic of two versions from the samples of one model's series."""
    found: dict[str, Any] = {}
    for name, labels, value in samples:
        for *path, last in _paths(name, labels, str(champion), str(challenger)):
            inner = found
            for key in path:
                inner = inner.setdefault(key, {})
            inner[last] = inner.get(last, 0.0) + value
    differences = found.pop("differences", {})
    sums = {name: (of.get("sum", 0.0), of.get("count", 0.0)) for name, of in differences.items()}
    return TrafficStats(**found, differences=sums)


def _paths(
    name: str, labels: Mapping[str, str], champion: str, challenger: str
) -> Iterator[tuple[Any, ...]]:
    """Yield where a sample counts: a field of the traffic, and the keys in it."""
    version, output = labels.get("version"), labels.get("output", "")
    kind = name.removeprefix("roadworthy_")
    if version in (champion, challenger):
        whose = "" if version == challenger else "champion_"
        if kind == "requests_total":
            yield (f"{whose}requests",)
            if not whose and labels.get("status", "").startswith("5"):
                yield ("failures",)
        elif kind == "request_seconds_bucket":
            yield (f"{whose}seconds", float(labels["le"]))
        elif kind == "fallbacks_total" and not whose:
            yield ("fallbacks", labels.get("reason", ""))
    elif labels.get("challenger") == challenger:
        whose = "champion_" if labels.get("role") == "champion" else ""
        if kind == "shadow_total":
            yield ("shadow", labels.get("outcome", ""))
        elif kind == "shadow_prediction_bucket":
            yield (f"{whose}predictions", output, float(labels["le"]))
        elif kind == "shadow_labels_total":
            yield (f"{whose}labels", output, labels.get("label", ""))
        elif kind in ("shadow_difference_sum", "shadow_difference_count"):
            yield ("differences", output, kind.rpartition("_")[2])


def analyse(stage: TrafficStats, rollout: TrafficStats, bounds: Bounds) -> Analysis:
    """Return the analysis of a stage.

    Parameters
    ----------
    stage
        The traffic of the stage.
    rollout
        The traffic since the rollout began. The champion's response times are taken from it, as the
        champion has few or no requests in the last stages, and so are both versions' predictions,
        of which there cannot be too many.
    """
    champion = quantile(rollout.champion_seconds, _QUANTILE)
    failed = _errors(stage, bounds)
    # A request that hangs is counted only after its timeout: so all stages are also taken together.
    failed = failed if failed[1] else _errors(rollout, bounds, otherwise=failed[0])
    found = [
        failed,
        _latency(_timed(stage, rollout, bounds).seconds, champion, bounds),
        *_predictions(rollout, bounds),
    ]
    problems = [problem for _, problem in found if problem]
    told = None if champion is None else champion * 1000
    metrics = tuple(metric for metric, _ in found)
    return Analysis(metrics, told, "; ".join(problems), _inconclusive(rollout, bounds))


def quantile(histogram: Histogram, fraction: float) -> float | None:
    """Return a quantile, interpolated in its bucket; None for an empty histogram.

    Beyond the last finite edge it is that edge, as more is not known.
    """
    edges = sorted(histogram)
    total = histogram[edges[-1]] if edges else 0
    if not total:
        return None
    wanted, below, low = fraction * total, 0.0, 0.0
    for edge in edges:
        if histogram[edge] >= wanted:
            if math.isinf(edge):
                return low
            inside = histogram[edge] - below
            return low + (edge - low) * ((wanted - below) / inside if inside else 1)
        below, low = histogram[edge], edge
    return low


def above(histogram: Histogram, limit: float) -> float:
    """Return the number of values greater than a limit, interpolated in its bucket."""
    edges = sorted(histogram)
    if not edges:
        return 0
    total, below, low = histogram[edges[-1]], 0.0, 0.0
    for edge in edges:
        if edge > limit:
            part = 0.0 if math.isinf(edge) else (limit - low) / (edge - low)
            return total - below - part * (histogram[edge] - below)
        below, low = histogram[edge], edge
    return 0


def stability(expected: Sequence[float], found: Sequence[float]) -> float:
    """Return the population stability index of two histograms with the same bins.

    Half a value is added to each bin, so that an empty bin does not make it infinite. It is 0 for
    equal histograms; above 0.25 it is by convention a significant shift.
    """
    bins = len(expected)
    if not bins:
        return 0
    all_expected, all_found = sum(expected) + bins / 2, sum(found) + bins / 2
    total = 0.0
    for one, other in zip(expected, found, strict=True):
        was, now = (one + 0.5) / all_expected, (other + 0.5) / all_found
        total += (now - was) * math.log(now / was)
    return total


def chance(bins: int, rows: float) -> float:
    """Return the stability index that two equal distributions exceed once in a thousand times.

    For two samples of one distribution, half the rows times the index is about chi-squared.
    """
    freedom = bins - 1
    if freedom < 1 or not rows:
        return 0
    # Wilson and Hilferty's approximation of the quantile of chi-squared
    part = 2 / (9 * freedom)
    return 2 * freedom * (1 - part + _NORMAL_999 * math.sqrt(part)) ** 3 / rows


def _inconclusive(stats: TrafficStats, bounds: Bounds) -> str:
    rate, failed, of = _worst_rate(stats)
    few = rate is not None and rate > bounds.max_error_rate and of < bounds.min_requests
    return f"it failed {failed:.0f} of {of:.0f} requests, and no more came" if few else ""


def _worst_rate(stats: TrafficStats) -> tuple[float | None, float, float]:
    """Return the error rate, the number of failures and the number of requests."""
    live = stats.failures + sum(stats.fallbacks.get(reason, 0) for reason in _REASONS)
    shadow = stats.shadow.get("error", 0) + stats.shadow.get("timeout", 0)
    asked = stats.shadow.get("compared", 0) + shadow
    # One request may be sent both ways, so the two rates are separate, and the worse one counts.
    rates = [(live, stats.asked), (shadow, asked)]
    found = [(failed / of, failed, of) for failed, of in rates if of]
    return max(found, default=(None, 0.0, 0.0), key=lambda one: one[0] or 0)


def by_chance(expected: float) -> int:
    """Return the number of rare events that chance exceeds once in a thousand times.

    Their number is about Poisson distributed. So one slow request of a hundred does not fail the
    99th percentile.
    """
    term = total = math.exp(-expected)
    count = 0
    while total < _SURE:
        count += 1
        term *= expected / count
        total += term
    return count


def _errors(
    stage: TrafficStats, bounds: Bounds, otherwise: MetricResult | None = None
) -> tuple[MetricResult, str]:
    """Analyse the error rate of clients' and of shadow requests.

    ``otherwise`` is the result to return where nothing is wrong.
    """
    rate, failed, of = _worst_rate(stage)
    limit = bounds.max_error_rate
    passed = rate is None or rate <= limit or failed < MINIMUM_FAILURES
    reasons = {**stage.fallbacks}
    for name in ("error", "timeout"):
        reasons[name] = reasons.get(name, 0) + stage.shadow.get(name, 0)
    kinds = " and ".join(sorted(name for name, count in reasons.items() if count)) or "error"
    problem = (
        ""
        if passed or rate is None
        else f"it failed {failed:.0f} of {of:.0f} requests ({kinds}), {limit:.2%} is allowed"
    )
    enough = of >= bounds.min_requests or failed >= MINIMUM_FAILURES
    result = MetricResult("error_rate", rate, limit, rate is not None and enough, passed)
    return (otherwise if passed and otherwise is not None else result), problem


def _timed(stage: TrafficStats, rollout: TrafficStats, bounds: Bounds) -> TrafficStats:
    """Return the stage, or the whole rollout where the stage had too few requests."""
    asked = max(stage.seconds.values(), default=0)
    return stage if asked >= bounds.min_requests else rollout


def _latency(
    seconds: Histogram, champion: float | None, bounds: Bounds
) -> tuple[MetricResult, str]:
    """Analyse its response times: the 99th percentile exceeds a limit if more than 1 % do."""
    found = quantile(seconds, _QUANTILE)
    limit = (champion or 0) * bounds.max_p99_ratio + bounds.p99_allowance_ms / 1000
    value = None if found is None else found * 1000
    count = max(seconds.values(), default=0)
    conclusive = champion is not None and count >= bounds.min_requests
    slow = above(seconds, limit)
    allowed = max(MINIMUM_FAILURES - 1, by_chance((1 - _QUANTILE) * count))
    passed = not conclusive or slow <= allowed
    problem = (
        ""
        if passed or found is None or champion is None
        else f"its 99th percentile is {found * 1000:.3g} ms, the champion's "
        f"{champion * 1000:.3g} ms, {limit * 1000:.3g} ms is allowed"
    )
    return MetricResult("p99_ms", value, limit * 1000, conclusive, passed), problem


def _predictions(stats: TrafficStats, bounds: Bounds) -> list[tuple[MetricResult, str]]:
    """Analyse its predictions against the champion's of the same rows, for the worst output."""
    means = {name: total / rows for name, (total, rows) in stats.differences.items() if rows}
    conclusive = stats.compared >= bounds.min_requests
    worst = max(means, default="", key=lambda name: (math.isnan(means[name]), means[name]))
    mean = means.get(worst)
    number = mean is None or math.isfinite(mean)
    passed = mean is None or (number and (not conclusive or mean <= bounds.max_difference))
    how = "in {:.1%} of the answers" if worst in stats.labels else "by {:.1%} on average"
    differ = (
        ""
        if passed or mean is None
        else f"its {worst} is not a number"
        if not number
        else f"its {worst} differs from the champion's {how.format(mean)}, "
        f"{bounds.max_difference:.1%} is allowed"
    )
    difference = MetricResult(
        "difference", mean if number else None, bounds.max_difference, conclusive, passed
    )
    return [_shift(stats, bounds, mean or 0.0, conclusive=conclusive), (difference, differ)]


def _shift(
    stats: TrafficStats, bounds: Bounds, mean: float, *, conclusive: bool
) -> tuple[MetricResult, str]:
    """Analyse the distributions of its predictions against the champion's."""
    found: list[tuple[float, float, str]] = []
    pairs = {
        name: (_bins(stats.champion_predictions.get(name, {})), _bins(histogram))
        for name, histogram in stats.predictions.items()
    }
    for name, answered in stats.labels.items():
        known = stats.champion_labels.get(name, {})
        every = {**known, **answered}
        pairs[name] = (
            [known.get(label, 0) for label in every],
            [answered.get(label, 0) for label in every],
        )
    for name, (expected, now) in pairs.items():
        if len(expected) == len(now) and math.fsum(now) > 0:
            allowed = bounds.max_psi + chance(len(now), math.fsum(now))
            found.append((stability(expected, now), allowed, name))
    if not found:
        return MetricResult("psi", None, bounds.max_psi, conclusive=False), ""
    value, limit, name = max(found, key=lambda one: one[0] - one[1])
    # Where all clients send the same row, a tiny difference may be another bin, but no shift.
    passed = not conclusive or value <= limit or mean <= SMALLEST_DIFFERENCE
    problem = (
        ""
        if passed
        else f"the distribution of its {name} is another than the champion's on the same requests: "
        f"stability index {value:.2f}, {limit:.2f} is allowed"
    )
    return MetricResult("psi", value, limit, conclusive, passed), problem


def _samples(text: str, model: str) -> Iterable[Sample]:
    for family in text_string_to_metric_families(text):
        if family.name.startswith("roadworthy_"):
            for sample in family.samples:
                if sample.labels.get("model") == model:
                    yield sample.name, sample.labels, float(sample.value)


def _bins(histogram: Histogram) -> list[float]:
    """Return the number of values in each bin."""
    counts = [histogram[edge] for edge in sorted(histogram)]
    return [count - below for count, below in zip(counts, [0.0, *counts], strict=False)]


def _added(one: Any, more: Any) -> Any:
    """Return the sum of two numbers, pairs of numbers or nested mappings of numbers."""
    if one is None or more is None:
        return more if one is None else one
    if isinstance(one, bool):
        return one or more
    if isinstance(one, Mapping):
        return {key: _added(one.get(key), more.get(key)) for key in {**one, **more}}
    if isinstance(one, tuple):
        return tuple(map(_added, one, more))
    return one + more


def _grown(now: Any, before: Any) -> Any:
    """Return by how much counters have grown.

    A counter that has shrunk began anew with its server, and so did the others beside it.
    """
    if now is None or before is None or isinstance(now, bool):
        return now
    if isinstance(now, tuple):
        return tuple(_grown(dict(enumerate(now)), dict(enumerate(before))).values())
    if not isinstance(now, Mapping):
        return now if now < before else now - before
    if any(isinstance(value, Mapping | tuple) for value in now.values()):
        return {key: _grown(value, before.get(key)) for key, value in now.items()}
    anew = any(value < before.get(key, 0) for key, value in now.items())
    return dict(now) if anew else {key: now[key] - before.get(key, 0) for key in now}
