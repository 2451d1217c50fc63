"""Whether a challenger does well enough on live traffic: pure, from what the server counted.

Two bounds of noise keep a good challenger from being rolled back by chance. One or two errors or
slow answers are a hiccup of the machine, so a rate counts from the third on. And two distributions
of few rows differ by chance, so what chance explains is added to the bound of the stability index.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from roadworthy.rollout.engine.state import Figure

HICCUPS = 2
"""So many errors, or slow answers, say nothing."""
SMALLEST_DIFFERENCE = 0.05
"""Answers that differ by less on average are alike, wherever the edges of the bins are."""
_QUANTILE = 0.99
_SURE = 0.999
_NORMAL_999 = 3.09
"""The normal distribution's quantile of 99.9 %."""

_REASONS = ("error", "timeout", "busy", "breaker")

Key = TypeVar("Key")
Histogram = Mapping[float, float]
"""How many values were at most each edge; the last edge is infinite."""
Labels = Mapping[str, float]
"""How often each label was answered."""
Sample = tuple[str, Mapping[str, str], float]
"""A series' name, its labels and its value."""


@dataclass(frozen=True)
class Bounds:
    """What is demanded of a challenger.

    Parameters
    ----------
    max_error_rate
        The greatest share of what it was asked that it may fail.
    max_p99_ratio, p99_allowance_ms
        Its 99th percentile may be the champion's times the ratio, and so many milliseconds more.
    max_psi
        The greatest population stability index of its predictions against the champion's.
    max_difference
        The greatest mean relative difference from the champion's prediction of the same row.
    min_requests
        With fewer requests, or rows, only errors are judged.
    """

    max_error_rate: float = 0.01
    max_p99_ratio: float = 2.0
    p99_allowance_ms: float = 50.0
    max_psi: float = 0.25
    max_difference: float = 0.25
    min_requests: int = 20


@dataclass(frozen=True)
class Counts:
    """What a server counted of one champion and one challenger, since it started or between.

    Parameters
    ----------
    requests, failures
        How many requests the challenger answered, and how many of these with a 5xx.
    champion_requests
        How many requests the champion answered.
    fallbacks
        How many requests the champion answered because the challenger failed, by reason.
    shadow
        How often both answered for comparison, by outcome.
    seconds, champion_seconds
        The histograms of the time to answer.
    predictions, champion_predictions
        Of each output the histograms of both versions' answers to the same rows.
    labels, champion_labels
        The same for each output that is a label or a boolean: how often each label was answered.
    differences
        Of each output the sum of the relative differences, and the number of rows. The difference
        of two labels is 0 or 1.
    blind
        Whether nobody counts: then nothing is known of the customers, not that there are none.
    reads, champion_reads
        How often the figures of each version were read anew, where somebody else does that now and
        then, as Prometheus does; None where they are those of the moment.
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
    blind: bool = False
    reads: int | None = None
    champion_reads: int | None = None

    @property
    def asked(self) -> int:
        """How many requests of customers the challenger was asked."""
        return round(self.requests + sum(self.fallbacks.values()))

    @property
    def compared(self) -> int:
        """How many rows both versions answered."""
        return round(max((rows for _, rows in self.differences.values()), default=0))

    @property
    def traffic(self) -> int:
        """How much customers asked at all: 0 if nothing, else more than one count per request.

        What the challenger answered is left out: the golden batch is among it, and of customers'
        requests each is also put to the champion. Where nobody counts there may be some.
        """
        fallbacks, shadow = self.fallbacks.values(), self.shadow.values()
        return round(self.champion_requests + sum(fallbacks) + sum(shadow)) or int(self.blind)

    def plus(self, more: Counts) -> Counts:
        """Return these and what was counted after them."""
        return Counts(
            requests=self.requests + more.requests,
            failures=self.failures + more.failures,
            champion_requests=self.champion_requests + more.champion_requests,
            fallbacks=_added(self.fallbacks, more.fallbacks),
            shadow=_added(self.shadow, more.shadow),
            seconds=_added(self.seconds, more.seconds),
            champion_seconds=_added(self.champion_seconds, more.champion_seconds),
            predictions=_all_added(self.predictions, more.predictions),
            champion_predictions=_all_added(self.champion_predictions, more.champion_predictions),
            labels=_all_added(self.labels, more.labels),
            champion_labels=_all_added(self.champion_labels, more.champion_labels),
            differences={
                name: (
                    self.differences.get(name, (0, 0))[0] + more.differences.get(name, (0, 0))[0],
                    self.differences.get(name, (0, 0))[1] + more.differences.get(name, (0, 0))[1],
                )
                for name in {**self.differences, **more.differences}
            },
            blind=self.blind or more.blind,
            reads=_read_also(self.reads, more.reads),
            champion_reads=_read_also(self.champion_reads, more.champion_reads),
        )

    def since(self, before: Counts) -> Counts:
        """Return what was counted since an earlier look; a server that began anew counts whole."""
        return Counts(
            requests=_grown(self.requests, before.requests),
            failures=_grown(self.failures, before.failures),
            champion_requests=_grown(self.champion_requests, before.champion_requests),
            fallbacks=_each(self.fallbacks, before.fallbacks),
            shadow=_each(self.shadow, before.shadow),
            seconds=_histogram(self.seconds, before.seconds),
            champion_seconds=_histogram(self.champion_seconds, before.champion_seconds),
            predictions=_histograms(self.predictions, before.predictions),
            champion_predictions=_histograms(
                self.champion_predictions, before.champion_predictions
            ),
            labels=_histograms(self.labels, before.labels),
            champion_labels=_histograms(self.champion_labels, before.champion_labels),
            differences=_sums(self.differences, before.differences),
            blind=self.blind,
            reads=_read_since(self.reads, before.reads),
            champion_reads=_read_since(self.champion_reads, before.champion_reads),
        )


@dataclass(frozen=True)
class Judgement:
    """What live traffic showed: each figure with its bound, and what is wrong if something is.

    ``doubt`` says what is wrong of so few requests that it may be a hiccup: more are to be seen.
    """

    figures: tuple[Figure, ...]
    champion_p99_ms: float | None
    problem: str = ""
    doubt: str = ""


def read(text: str, model: str, champion: int, challenger: int) -> Counts:
    """Return what a server's ``/metrics`` say of two versions of a model.

    Raises
    ------
    ValueError
        The text is none of Prometheus.
    """
    return count(_samples(text, model), champion, challenger)


def count(samples: Iterable[Sample], champion: int, challenger: int) -> Counts:
    """Return what samples of one model's series say of two versions."""
    old, new = str(champion), str(challenger)
    numbers: dict[str, float] = defaultdict(float)
    fallbacks: dict[str, float] = defaultdict(float)
    shadow: dict[str, float] = defaultdict(float)
    seconds: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    predictions: dict[str, dict[str, dict[float, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    labelled: dict[str, dict[str, dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, labels, value in samples:
        version = labels.get("version")
        tried = labels.get("challenger") == new
        if name == "roadworthy_requests_total" and version == new:
            numbers["requests"] += value
            numbers["failures"] += value if labels.get("status", "").startswith("5") else 0
        elif name == "roadworthy_requests_total" and version == old:
            numbers["champion_requests"] += value
        elif name == "roadworthy_fallbacks_total" and version == new:
            fallbacks[labels.get("reason", "")] += value
        elif name == "roadworthy_shadow_total" and tried:
            shadow[labels.get("outcome", "")] += value
        elif name == "roadworthy_request_seconds_bucket" and version in (old, new):
            seconds[version][float(labels["le"])] += value
        elif name == "roadworthy_shadow_prediction_bucket" and tried:
            histogram = predictions[labels.get("role", "")][labels.get("output", "")]
            histogram[float(labels["le"])] += value
        elif name == "roadworthy_shadow_labels_total" and tried:
            role, output = labels.get("role", ""), labels.get("output", "")
            labelled[role][output][labels.get("label", "")] += value
        elif name.startswith("roadworthy_shadow_difference_") and tried:
            kind = name.rpartition("_")[2]
            if kind in ("sum", "count"):
                sums[labels.get("output", "")][kind == "count"] += value
    return Counts(
        requests=numbers["requests"],
        failures=numbers["failures"],
        champion_requests=numbers["champion_requests"],
        fallbacks=dict(fallbacks),
        shadow=dict(shadow),
        seconds=dict(seconds[new]),
        champion_seconds=dict(seconds[old]),
        predictions={name: dict(found) for name, found in predictions["challenger"].items()},
        champion_predictions={name: dict(found) for name, found in predictions["champion"].items()},
        labels={name: dict(found) for name, found in labelled["challenger"].items()},
        champion_labels={name: dict(found) for name, found in labelled["champion"].items()},
        differences={name: (found[0], found[1]) for name, found in sums.items()},
    )


def judge(stage: Counts, rollout: Counts, bounds: Bounds) -> Judgement:
    """Return what live traffic showed.

    Parameters
    ----------
    stage
        What was counted in this stage.
    rollout
        What was counted since the rollout began: the champion's times are taken from there, as it
        is asked little or nothing in the last stages, and so are the predictions of both, of which
        there cannot be too many.
    """
    champion = quantile(rollout.champion_seconds, _QUANTILE)
    failed = _errors(stage, bounds)
    # What hangs is not counted until its time is up: errors of all stages are taken together too.
    failed = failed if failed[1] else _errors(rollout, bounds, otherwise=failed[0])
    found = [
        failed,
        _slow(_timed(stage, rollout, bounds).seconds, champion, bounds),
        *_predictions(rollout, bounds),
    ]
    problems = [problem for _, problem in found if problem]
    told = None if champion is None else champion * 1000
    figures = tuple(figure for figure, _ in found)
    return Judgement(figures, told, "; ".join(problems), _doubt(rollout, bounds))


def quantile(histogram: Histogram, share: float) -> float | None:
    """Return a quantile, interpolated in its bucket; None where nothing was counted.

    Beyond the last finite edge it is that edge: more is not known.
    """
    edges = sorted(histogram)
    total = histogram[edges[-1]] if edges else 0
    if not total:
        return None
    wanted, below, low = share * total, 0.0, 0.0
    for edge in edges:
        if histogram[edge] >= wanted:
            if math.isinf(edge):
                return low
            inside = histogram[edge] - below
            return low + (edge - low) * ((wanted - below) / inside if inside else 1)
        below, low = histogram[edge], edge
    return low


def above(histogram: Histogram, limit: float) -> float:
    """Return how many values are greater than a limit, interpolated in its bucket."""
    edges = sorted(histogram)
    if not edges:
        return 0
    total, below, low = histogram[edges[-1]], 0.0, 0.0
    for edge in edges:
        if edge > limit:
            share = 0.0 if math.isinf(edge) else (limit - low) / (edge - low)
            return total - below - share * (histogram[edge] - below)
        below, low = histogram[edge], edge
    return 0


def stability(expected: Sequence[float], found: Sequence[float]) -> float:
    """Return the population stability index of two histograms with the same bins.

    Half a value is added to each bin, so that an empty one does not make it infinite. 0 is alike;
    above 0.25 is by custom a shift that matters.
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
    """Return the stability index that chance alone exceeds once in a thousand times.

    For two samples of one distribution, half the rows times the index is about chi-squared.
    """
    freedom = bins - 1
    if freedom < 1 or not rows:
        return 0
    # Wilson and Hilferty's approximation of the quantile of chi-squared
    part = 2 / (9 * freedom)
    return 2 * freedom * (1 - part + _NORMAL_999 * math.sqrt(part)) ** 3 / rows


def _doubt(counts: Counts, bounds: Bounds) -> str:
    rate, failed, of = _worst_rate(counts)
    doubtful = rate is not None and rate > bounds.max_error_rate and of < bounds.min_requests
    return f"it failed {failed:.0f} of {of:.0f} requests, and no more came" if doubtful else ""


def _worst_rate(counts: Counts) -> tuple[float | None, float, float]:
    """Return the rate of what it failed, how often it failed, and of how many requests."""
    live = counts.failures + sum(counts.fallbacks.get(reason, 0) for reason in _REASONS)
    shadow = counts.shadow.get("error", 0) + counts.shadow.get("timeout", 0)
    asked = counts.shadow.get("compared", 0) + shadow
    # One request may be asked both ways: the two are rates of their own, and the worse one counts.
    rates = [(live, counts.asked), (shadow, asked)]
    found = [(failed / of, failed, of) for failed, of in rates if of]
    return max(found, default=(None, 0.0, 0.0), key=lambda one: one[0] or 0)


def by_chance(expected: float) -> int:
    """Return how many rare events there are at most, but for once in a thousand times.

    Their number is about Poisson where so many are expected. So one in a hundred that is slow by
    chance does not make the 99th percentile of a hundred requests a slow one.
    """
    term = total = math.exp(-expected)
    count = 0
    while total < _SURE:
        count += 1
        term *= expected / count
        total += term
    return count


def _errors(stage: Counts, bounds: Bounds, otherwise: Figure | None = None) -> tuple[Figure, str]:
    """Judge what it failed of what it was asked, for customers or for comparison.

    ``otherwise`` is the figure that is told where nothing is wrong.
    """
    rate, failed, of = _worst_rate(stage)
    limit = bounds.max_error_rate
    passed = rate is None or rate <= limit or failed <= HICCUPS
    reasons = {**stage.fallbacks}
    for name in ("error", "timeout"):
        reasons[name] = reasons.get(name, 0) + stage.shadow.get(name, 0)
    kinds = " and ".join(sorted(name for name, count in reasons.items() if count)) or "error"
    problem = (
        ""
        if passed or rate is None
        else f"it failed {failed:.0f} of {of:.0f} requests ({kinds}), {limit:.2%} is allowed"
    )
    judged_at_all = rate is not None and bool(of >= bounds.min_requests or failed > HICCUPS)
    figure = Figure("error_rate", rate, limit, judged_at_all, passed)
    return (otherwise if passed and otherwise is not None else figure), problem


def _timed(stage: Counts, rollout: Counts, bounds: Bounds) -> Counts:
    """Return the stage, or the whole rollout where too little was asked of it in the stage."""
    asked = max(stage.seconds.values(), default=0)
    return stage if asked >= bounds.min_requests else rollout


def _slow(seconds: Histogram, champion: float | None, bounds: Bounds) -> tuple[Figure, str]:
    """Judge its times. The 99th percentile is above a limit where more than 1 % of all are."""
    found = quantile(seconds, _QUANTILE)
    limit = (champion or 0) * bounds.max_p99_ratio + bounds.p99_allowance_ms / 1000
    value = None if found is None else found * 1000
    count = max(seconds.values(), default=0)
    judged = champion is not None and count >= bounds.min_requests
    slow = above(seconds, limit)
    passed = not judged or slow <= max(HICCUPS, by_chance((1 - _QUANTILE) * count))
    problem = (
        ""
        if passed or found is None or champion is None
        else f"its 99th percentile is {found * 1000:.3g} ms, the champion's "
        f"{champion * 1000:.3g} ms, {limit * 1000:.3g} ms is allowed"
    )
    return Figure("p99_ms", value, limit * 1000, judged, passed), problem


def _predictions(counts: Counts, bounds: Bounds) -> list[tuple[Figure, str]]:
    """Judge its predictions against the champion's of the same rows, of the worst output."""
    means = {name: total / rows for name, (total, rows) in counts.differences.items() if rows}
    judged = counts.compared >= bounds.min_requests
    worst = max(means, default="", key=lambda name: (math.isnan(means[name]), means[name]))
    mean = means.get(worst)
    number = mean is None or math.isfinite(mean)
    passed = mean is None or (number and (not judged or mean <= bounds.max_difference))
    how = "in {:.1%} of the answers" if worst in counts.labels else "by {:.1%} on average"
    differ = (
        ""
        if passed or mean is None
        else f"its {worst} is not a number"
        if not number
        else f"its {worst} differs from the champion's {how.format(mean)}, "
        f"{bounds.max_difference:.1%} is allowed"
    )
    difference = Figure(
        "difference", mean if number else None, bounds.max_difference, judged, passed
    )
    return [_shift(counts, bounds, mean or 0.0, judged=judged), (difference, differ)]


def _shift(counts: Counts, bounds: Bounds, mean: float, *, judged: bool) -> tuple[Figure, str]:
    found: list[tuple[float, float, str]] = []
    pairs = {
        name: (_bins(counts.champion_predictions.get(name, {})), _bins(histogram))
        for name, histogram in counts.predictions.items()
    }
    for name, answered in counts.labels.items():
        known = counts.champion_labels.get(name, {})
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
        return Figure("psi", None, bounds.max_psi, judged=False), ""
    value, limit, name = max(found, key=lambda one: one[0] - one[1])
    # Where every customer asks the same, a hair's breadth may be another bin: that is no shift.
    passed = not judged or value <= limit or mean <= SMALLEST_DIFFERENCE
    problem = (
        ""
        if passed
        else f"the distribution of its {name} is another than the champion's on the same requests: "
        f"stability index {value:.2f}, {limit:.2f} is allowed"
    )
    return Figure("psi", value, limit, judged, passed), problem


def _samples(text: str, model: str) -> Iterable[Sample]:
    for family in text_string_to_metric_families(text):
        if family.name.startswith("roadworthy_"):
            for sample in family.samples:
                if sample.labels.get("model") == model:
                    yield sample.name, sample.labels, float(sample.value)


def _bins(histogram: Histogram) -> list[float]:
    """Return the values of each bin from those at most each edge."""
    counts = [histogram[edge] for edge in sorted(histogram)]
    return [count - below for count, below in zip(counts, [0.0, *counts], strict=False)]


def _read_also(before: int | None, more: int | None) -> int | None:
    return None if before is None and more is None else (before or 0) + (more or 0)


def _read_since(now: int | None, before: int | None) -> int | None:
    return None if now is None else now - (before or 0)


def _added(one: Mapping[Key, float], other: Mapping[Key, float]) -> dict[Key, float]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def _all_added(
    one: Mapping[str, Mapping[Key, float]], other: Mapping[str, Mapping[Key, float]]
) -> dict[str, dict[Key, float]]:
    names = {**one, **other}
    return {name: _added(one.get(name, {}), other.get(name, {})) for name in names}


def _grown(now: float, before: float) -> float:
    return now if now < before else now - before


def _each(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: _grown(value, before.get(name, 0)) for name, value in now.items()}


def _histogram(now: Mapping[Key, float], before: Mapping[Key, float]) -> dict[Key, float]:
    """Return the growth of a histogram, as a whole: some of its buckets may never have shrunk."""
    anew = any(value < before.get(edge, 0) for edge, value in now.items())
    return dict(now) if anew else {edge: now[edge] - before.get(edge, 0) for edge in now}


def _histograms(
    now: Mapping[str, Mapping[Key, float]], before: Mapping[str, Mapping[Key, float]]
) -> dict[str, dict[Key, float]]:
    return {name: _histogram(found, before.get(name, {})) for name, found in now.items()}


def _sums(
    now: Mapping[str, tuple[float, float]], before: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    grown = {}
    for name, (total, rows) in now.items():
        total_before, rows_before = before.get(name, (0.0, 0.0))
        grown[name] = (
            (total, rows) if rows < rows_before else (total - total_before, rows - rows_before)
        )
    return grown
