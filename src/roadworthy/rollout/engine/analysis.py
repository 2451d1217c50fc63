"""Canary analysis: whether a challenger does well enough on live traffic. Pure functions.

A good challenger is not rolled back by chance or for what the server does. Latency is the models'
own time on the CPU. A metric fails only where chance, in a sample of that size, does not explain
that it exceeds its limit. The sample of compared answers is of the different rows, as a row that
is sent again tells nothing new. A metric with too little evidence for either result is inconclusive
and fails nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from statistics import harmonic_mean
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from roadworthy.rollout.engine import sampling
from roadworthy.rollout.engine.sampling import Histogram
from roadworthy.rollout.engine.state import MetricResult

MINIMUM_FAILURES = 3
"""Fewer errors do not fail an analysis."""
SMALLEST_DIFFERENCE = 0.05
"""Answers with a smaller mean difference count as equal, wherever the edges of the bins are."""
_QUANTILES = {"median_ms": ("median", 0.5), "p99_ms": ("99th percentile", 0.99)}
_REASONS = ("error", "timeout", "breaker")
"""The failures of a challenger. A request that did not get its turn is none."""

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
        The median and the 99th percentile of its model time may be the champion's times the ratio,
        plus the allowance.
    max_psi
        The greatest population stability index of its predictions against the champion's.
    max_difference
        The greatest mean relative difference from the champion's prediction of the same row.
    min_requests
        With fewer requests, or rows, a metric is inconclusive; errors are analysed.
    """

    max_error_rate: float = 0.01
    max_p99_ratio: float = 2.0
    p99_allowance_ms: float = 0.005
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
        The histograms of the models' own times for requests that either could have got.
    answers, champion_answers
        For each output the histograms of each version's answers to its own requests.
    answer_labels, champion_answer_labels
        The same of labels and booleans: the number of answers with each.
    predictions, champion_predictions
        For each output the histograms of both versions' answers to the same rows.
    labels, champion_labels
        For each output that is a label or a boolean the number of answers with each label.
    differences
        For each output the sum of the relative differences, and the number of rows. The difference
        of two labels is 0 or 1.
    difference_bins
        For each output the histogram of the differences.
    effective_rows
        The number of different rows that tell as much as those that both versions answered since
        the challenger was loaded; None where it is not known.
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
    answers: Mapping[str, Histogram] = field(default_factory=dict)
    champion_answers: Mapping[str, Histogram] = field(default_factory=dict)
    answer_labels: Mapping[str, Labels] = field(default_factory=dict)
    champion_answer_labels: Mapping[str, Labels] = field(default_factory=dict)
    predictions: Mapping[str, Histogram] = field(default_factory=dict)
    champion_predictions: Mapping[str, Histogram] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    champion_labels: Mapping[str, Labels] = field(default_factory=dict)
    differences: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    difference_bins: Mapping[str, Histogram] = field(default_factory=dict)
    effective_rows: float | None = None
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
        added = TrafficStats(**{n: _added(getattr(self, n), getattr(more, n)) for n in names})
        known = self.effective_rows if more.effective_rows is None else more.effective_rows
        return replace(added, effective_rows=known)

    def since(self, before: TrafficStats) -> TrafficStats:
        """Return the traffic since an earlier reading; all of it where the server was restarted."""
        names = [one.name for one in fields(self)]
        grown = TrafficStats(**{n: _grown(getattr(self, n), getattr(before, n)) for n in names})
        return replace(grown, effective_rows=self.effective_rows)


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
    edge, label = float(labels.get("le", "nan")), labels.get("label", "")
    if version in (champion, challenger):
        whose = "" if version == challenger else "champion_"
        paths = {
            "requests_total": ("requests",),
            "model_seconds_bucket": ("seconds", edge),
            "prediction_bucket": ("answers", output, edge),
            "prediction_labels_total": ("answer_labels", output, label),
        }
        if kind in paths:
            first, *rest = paths[kind]
            yield (f"{whose}{first}", *rest)
        if not whose and kind == "requests_total" and labels.get("status", "").startswith("5"):
            yield ("failures",)
        elif not whose and kind == "fallbacks_total":
            yield ("fallbacks", labels.get("reason", ""))
    elif labels.get("challenger") == challenger:
        whose = "champion_" if labels.get("role") == "champion" else ""
        if kind == "shadow_total":
            yield ("shadow", labels.get("outcome", ""))
        elif kind == "shadow_prediction_bucket":
            yield (f"{whose}predictions", output, edge)
        elif kind == "shadow_labels_total":
            yield (f"{whose}labels", output, label)
        elif kind == "shadow_effective_rows":
            yield ("effective_rows",)
        elif kind == "shadow_difference_bucket":
            yield ("difference_bins", output, edge)
        elif kind in ("shadow_difference_sum", "shadow_difference_count"):
            yield ("differences", output, kind.rpartition("_")[2])


def analyse(stage: TrafficStats, rollout: TrafficStats, bounds: Bounds) -> Analysis:
    """Return the analysis of a stage.

    Parameters
    ----------
    stage
        The traffic of the stage.
    rollout
        The traffic since the rollout began. The times are taken from it where either version had
        few requests in the stage, as the champion has in the last one, and so are both versions'
        predictions, of which there cannot be too many.
    """
    failed = _errors(stage, bounds)
    # A request that hangs is counted only after its timeout: so all stages are also taken together.
    failed = failed if failed[1] else _errors(rollout, bounds, otherwise=failed[0])
    times = [_latency(_timed(stage, rollout, bounds), bounds, name) for name in _QUANTILES]
    predictions = _predictions(rollout, bounds)
    if not rollout.compared:  # as on KServe; and of the stage, as requests change with the time
        predictions[0] = _live_shift(stage, bounds)
    found = [failed, *times, *predictions]
    problems = [problem for _, problem in found if problem]
    champion = sampling.quantile(rollout.champion_seconds, _QUANTILES["p99_ms"][1])
    told = None if champion is None else champion * 1000
    metrics = tuple(metric for metric, _ in found)
    inconclusive = _inconclusive(rollout, bounds, is_timed=times[0][0].conclusive)
    return Analysis(metrics, told, "; ".join(problems), inconclusive)


def _inconclusive(stats: TrafficStats, bounds: Bounds, *, is_timed: bool) -> str:
    rate, failed, of = _worst_rate(stats)
    if rate is not None and rate > bounds.max_error_rate:
        if of < bounds.min_requests:
            return f"it failed {failed:.0f} of {of:.0f} requests, and no more came"
        if failed >= MINIMUM_FAILURES:
            limit = f"{bounds.max_error_rate:.2%}"
            return f"it failed {failed:.0f} of {of:.0f} requests, {limit} is allowed"
    busy = stats.fallbacks.get("busy", 0)
    if busy >= bounds.min_requests and not is_timed:
        return f"it had no time for {busy:.0f} of {stats.asked} requests"
    return ""


def _worst_rate(stats: TrafficStats) -> tuple[float | None, float, float]:
    """Return the error rate, the number of failures and the number of requests."""
    live = stats.failures + sum(stats.fallbacks.get(reason, 0) for reason in _REASONS)
    shadow = stats.shadow.get("error", 0) + stats.shadow.get("timeout", 0)
    asked = stats.shadow.get("compared", 0) + shadow
    # One request may be sent both ways, so the two rates are separate, and the worse one counts.
    rates = [(live, stats.asked), (shadow, asked)]
    found = [(failed / of, failed, of) for failed, of in rates if of]
    return max(found, default=(None, 0.0, 0.0), key=lambda one: one[0] or 0)


def _errors(
    stage: TrafficStats, bounds: Bounds, otherwise: MetricResult | None = None
) -> tuple[MetricResult, str]:
    """Analyse the error rate of clients' and of shadow requests.

    ``otherwise`` is the result to return where nothing is wrong.
    """
    rate, failed, of = _worst_rate(stage)
    limit = bounds.max_error_rate
    least = max(MINIMUM_FAILURES - 1, sampling.chance_range(of, limit)[1])
    passed = rate is None or rate <= limit or failed <= least
    reasons = {**stage.fallbacks}
    for name in ("error", "timeout"):
        reasons[name] = reasons.get(name, 0) + stage.shadow.get(name, 0)
    kinds = " and ".join(sorted(name for name, count in reasons.items() if count)) or "error"
    problem = (
        ""
        if passed or rate is None
        else f"it failed {failed:.0f} of {of:.0f} requests ({kinds}), {limit:.2%} is allowed"
    )
    conclusive = not passed or (of >= bounds.min_requests and (rate or 0) <= limit)
    result = MetricResult("error_rate", rate, limit, conclusive, passed)
    return (otherwise if passed and otherwise is not None else result), problem


def _timed(stage: TrafficStats, rollout: TrafficStats, bounds: Bounds) -> TrafficStats:
    """Return the stage, or the whole rollout where either version had too few requests in it."""
    fewest = min(sampling.total(stage.seconds), sampling.total(stage.champion_seconds))
    return stage if fewest >= bounds.min_requests else rollout


def _latency(stats: TrafficStats, bounds: Bounds, name: str) -> tuple[MetricResult, str]:
    """Analyse a quantile of its model time against the champion's."""
    words, fraction = _QUANTILES[name]
    ratio, allowance = bounds.max_p99_ratio, bounds.p99_allowance_ms / 1000
    both = (stats.seconds, stats.champion_seconds)
    found, champion = (sampling.quantile(one, fraction) for one in both)
    limit = ratio * (champion or 0) + allowance
    value = None if found is None else found * 1000
    if found is None or champion is None or min(map(sampling.total, both)) < bounds.min_requests:
        return MetricResult(name, value, limit * 1000, conclusive=False), ""
    if sampling.is_slower(*both, fraction, ratio, allowance):
        problem = (
            f"its {words} is {found * 1000:.3g} ms, the champion's {champion * 1000:.3g} ms, "
            f"{limit * 1000:.3g} ms is allowed"
        )
        return MetricResult(name, value, limit * 1000, passed=False), problem
    (_, most), (least, _) = (sampling.interval(one, fraction) for one in both)
    return MetricResult(name, value, limit * 1000, most <= ratio * least + allowance), ""


def _predictions(stats: TrafficStats, bounds: Bounds) -> list[tuple[MetricResult, str]]:
    """Analyse its predictions against the champion's of the same rows, for the worst output."""
    limit = bounds.max_difference
    means = {name: sums / rows for name, (sums, rows) in stats.differences.items() if rows}
    enough = stats.compared >= bounds.min_requests
    worst = max(means, default="", key=lambda name: (math.isnan(means[name]), means[name]))
    mean = means.get(worst)
    shift = _shift(stats, bounds, mean or 0.0, enough=enough)
    if mean is None:
        return [shift, (MetricResult("difference", None, limit, conclusive=False), "")]
    if not math.isfinite(mean):
        result = MetricResult("difference", None, limit, enough, passed=False)
        return [shift, (result, f"the field {worst} is not a number")]
    passed = not enough or mean <= limit or _is_chance(stats, worst, mean, limit)
    how = "in {:.1%} of the answers" if worst in stats.labels else "by {:.1%} on average"
    problem = (
        ""
        if passed
        else f"the field {worst} differs from the champion's {how.format(mean)}, "
        f"{limit:.1%} is allowed"
    )
    conclusive = enough and (not passed or mean <= limit)
    return [shift, (MetricResult("difference", mean, limit, conclusive, passed), problem)]


def _is_chance(stats: TrafficStats, output: str, mean: float, limit: float) -> bool:
    """Return whether chance explains that a mean difference exceeds its limit."""
    rows = _rows(stats)
    if output in stats.labels:
        return mean * rows <= sampling.chance_range(rows, limit)[1]
    spread = sampling.deviation(stats.difference_bins.get(output, {}), mean)
    return mean - sampling.standard_error(spread, rows) <= limit


def _rows(stats: TrafficStats) -> float:
    """Return the number of rows that count as evidence."""
    known = stats.effective_rows
    return stats.compared if known is None else min(known, stats.compared)


def _shift(
    stats: TrafficStats, bounds: Bounds, mean: float, *, enough: bool
) -> tuple[MetricResult, str]:
    """Analyse the distributions of its predictions against the champion's."""
    found: list[tuple[float, float, str]] = []
    pairs = {
        name: (sampling.bins(stats.champion_predictions.get(name, {})), sampling.bins(histogram))
        for name, histogram in stats.predictions.items()
    }
    for name, answered in stats.labels.items():
        pairs[name] = _of_labels(stats.champion_labels.get(name, {}), answered)
    rows = _rows(stats)
    for name, (expected, now) in pairs.items():
        if len(expected) == len(now) and math.fsum(now) > 0:
            allowed = bounds.max_psi + sampling.chance(len(now), rows)
            found.append((sampling.stability(expected, now), allowed, name))
    if not found:
        return MetricResult("psi", None, bounds.max_psi, conclusive=False), ""
    value, limit, name = max(found, key=lambda one: one[0] - one[1])
    # Where all clients send the same row, a tiny difference may be another bin, but no shift.
    alike = value <= bounds.max_psi or mean <= SMALLEST_DIFFERENCE
    passed = not enough or alike or value <= limit
    problem = (
        ""
        if passed
        else f"the distribution of the field {name} differs from the champion's on the same "
        f"requests: stability index {value:.2f}, {limit:.2f} is allowed"
    )
    conclusive = enough and (alike or not passed)
    return MetricResult("psi", value, limit, conclusive, passed), problem


def _live_shift(stats: TrafficStats, bounds: Bounds) -> tuple[MetricResult, str]:
    """Analyse the distributions of both versions' answers, each to its own requests.

    Which version gets a request is chance, so the distributions of the requests differ by chance.
    Answers may differ as much as those to the same rows: where all clients send the same row, a
    small difference may be another bin, but is no shift.
    """
    worst = MetricResult("psi", None, bounds.max_psi, conclusive=False), ""
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for name, known in stats.champion_answers.items():
        if sampling.total(known) and name in stats.answers:
            now = sampling.aligned(stats.answers[name], known, bounds.max_difference)
            pairs[name] = sampling.bins(known), sampling.bins(now)
    for name, labels in stats.champion_answer_labels.items():
        pairs[name] = _of_labels(labels, stats.answer_labels.get(name, {}))
    excess = -math.inf
    for name, (expected, found) in pairs.items():
        rows = (
            sampling.effective(stats.champion_requests, math.fsum(expected)),
            sampling.effective(stats.requests, math.fsum(found)),
        )
        value, enough = sampling.stability(expected, found), min(rows) >= bounds.min_requests
        limit = bounds.max_psi + sampling.chance(len(found), harmonic_mean(rows))
        if value - limit > excess:
            excess, passed = value - limit, not enough or value <= limit
            conclusive = enough and (not passed or value <= bounds.max_psi)
            problem = (
                f"the distribution of the field {name} differs from the champion's: stability "
                f"index {value:.2f}, {limit:.2f} is allowed"
            )
            result = MetricResult("psi", value, limit, conclusive, passed)
            worst = result, "" if passed else problem
    return worst


def _of_labels(known: Labels, answered: Labels) -> tuple[list[float], list[float]]:
    """Return the numbers of answers of both versions with each label."""
    every = {**known, **answered}
    return [known.get(label, 0) for label in every], [answered.get(label, 0) for label in every]


def _samples(text: str, model: str) -> Iterable[Sample]:
    for family in text_string_to_metric_families(text):
        if family.name.startswith("roadworthy_"):
            for sample in family.samples:
                if sample.labels.get("model") == model:
                    yield sample.name, sample.labels, float(sample.value)


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
