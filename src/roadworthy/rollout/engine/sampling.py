"""What chance explains in the counts of a sample. Pure functions.

An analysis looks at several metrics, several times in a rollout, so each bound here is one that
chance exceeds once in ten thousand times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

Histogram = Mapping[float, float]
"""The number of values up to each edge; the last edge is infinite."""

_Z = NormalDist().inv_cdf(0.9999)
_SKEW = (_Z**2 - 1) / 6


def total(histogram: Histogram) -> float:
    """Return the number of values."""
    return max(histogram.values(), default=0)


def quantile(histogram: Histogram, fraction: float) -> float | None:
    """Return a quantile, interpolated in its bucket; None for an empty histogram.

    Beyond the last finite edge it is that edge, as more is not known.
    """
    edges = sorted(histogram)
    count = histogram[edges[-1]] if edges else 0
    if not count:
        return None
    wanted, below, low = fraction * count, 0.0, 0.0
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
    below, low = 0.0, 0.0
    for edge in edges:
        if edge > limit:
            part = 0.0 if math.isinf(edge) else (limit - low) / (edge - low)
            return total(histogram) - below - part * (histogram[edge] - below)
        below, low = histogram[edge], edge
    return 0


def bins(histogram: Histogram) -> list[float]:
    """Return the number of values in each bin."""
    counts = [histogram[edge] for edge in sorted(histogram)]
    return [count - below for count, below in zip(counts, [0.0, *counts], strict=False)]


def deviation(histogram: Histogram, mean: float) -> float:
    """Return the standard deviation of values around their mean, each in the middle of its bin."""
    edges, count = sorted(histogram), total(histogram)
    if not count:
        return 0.0
    middles = [
        low if math.isinf(edge) else (low + edge) / 2
        for low, edge in zip([0.0, *edges], edges, strict=False)
    ]
    squares = math.fsum(n * x * x for n, x in zip(bins(histogram), middles, strict=True))
    return math.sqrt(max(0.0, squares / count - mean**2))


def standard_error(spread: float, rows: float) -> float:
    """Return how far chance may take the mean of so many values from the true one."""
    return _Z * spread / math.sqrt(rows) if rows else math.inf


def chance_range(
    trials: float, probability: float, population: float = math.inf
) -> tuple[float, float]:
    """Return the least and the greatest number of events that chance explains.

    These are quantiles of the binomial distribution, or of the hypergeometric one where the trials
    are drawn from a finite population, by the first terms of their expansion: mean, ``z`` standard
    deviations, and ``(z**2 - 1) / 6`` of skewness times standard deviation (E. A. Cornish and R. A.
    Fisher, Moments and Cumulants in the Specification of Distributions, 1938).
    """
    left = 1.0 if math.isinf(population) else max(0.0, 1 - trials / population)
    mean = trials * probability
    spread = math.sqrt(mean * (1 - probability) * left)
    skew = _SKEW * (1 - 2 * probability) * (2 * left - 1)
    # of fewer expected events none may come, where the expansion does not hold
    least = mean - _Z * spread + skew if spread > _Z / 2 else 0.0
    return max(0.0, least), mean + _Z * spread + skew


def interval(histogram: Histogram, fraction: float) -> tuple[float, float]:
    """Return the bounds of a quantile of the distribution that a sample comes from.

    They are the order statistics whose ranks chance explains (H. A. David and H. N. Nagaraja, Order
    Statistics, 2003, section 7.1). The upper one is infinite where the sample is too small.
    """
    count = total(histogram)
    few, many = chance_range(count, 1 - fraction)
    low = quantile(histogram, max(0.0, 1 - many / count)) if count else None
    high = quantile(histogram, 1 - few / count) if few else None
    return low or 0.0, math.inf if high is None else high


def is_slower(
    seconds: Histogram, reference: Histogram, fraction: float, ratio: float, allowance: float
) -> bool:
    """Return whether durations exceed those of a reference, times a ratio plus an allowance.

    Their quantile must exceed that of the reference so far, and it must not be chance: there is a
    duration of at least that quantile which so many more of them exceed that Fisher's exact test
    (R. A. Fisher, The Design of Experiments, 1935) tells the two samples apart.
    """
    found, expected = quantile(seconds, fraction), quantile(reference, fraction)
    if found is None or expected is None or found <= ratio * expected + allowance:
        return False
    every = total(seconds) + total(reference)
    for edge in reference:
        if edge >= expected and not math.isinf(edge):
            slow = above(seconds, ratio * edge + allowance)
            slow_of_both = slow + total(reference) - reference[edge]
            if slow > chance_range(slow_of_both, total(seconds) / every, every)[1]:
                return True
    return False


def stability(expected: Sequence[float], found: Sequence[float]) -> float:
    """Return the population stability index of two histograms with the same bins.

    Half a value is added to each bin, so that an empty bin does not make it infinite. It is 0 for
    equal histograms; above 0.25 it is by convention a significant shift.
    """
    count = len(expected)
    if not count:
        return 0
    all_expected, all_found = sum(expected) + count / 2, sum(found) + count / 2
    index = 0.0
    for one, other in zip(expected, found, strict=True):
        was, now = (one + 0.5) / all_expected, (other + 0.5) / all_found
        index += (now - was) * math.log(now / was)
    return index


def aligned(histogram: Histogram, like: Histogram, tolerance: float) -> Histogram:
    """Return a histogram with the edges of another one, as like to it as possible.

    Within a bin of its own a value may be anywhere, and each value may be another one within a
    relative tolerance. So the difference that is left is the least that both histograms prove.
    """
    found: dict[float, float] = {}
    for edge in sorted(like):
        expected = like[edge] / total(like) * total(histogram)
        slack = 0.0 if math.isinf(edge) else tolerance * abs(edge)
        least = max((histogram[own] for own in histogram if own <= edge - slack), default=0.0)
        most = min(histogram[own] for own in histogram if own >= edge + slack)
        found[edge] = min(max(expected, least), most)
    return found


def effective(requests: float, rows: float) -> float:
    """Return the number of single rows that tell as much as the rows of so many requests.

    A version gets whole requests by chance, and the rows of one may be alike. It is Kish's
    effective sample size (L. Kish, Survey Sampling, 1965, section 11.7) in the worst case, that one
    request has all the rows that the others leave.
    """
    if rows <= requests:
        return rows
    return float(rows**2 / ((rows - requests + 1) ** 2 + requests - 1)) if requests >= 1 else 0.0


def chance(count: int, rows: float) -> float:
    """Return the stability index, in so many bins, that chance explains of equal distributions.

    For two samples of one distribution, half the rows times the index is about chi-squared (B.
    Yurdakul and J. Naranjo, Statistical Properties of the Population Stability Index, 2020).
    """
    freedom = count - 1
    if freedom < 1 or not rows:
        return 0
    # Wilson and Hilferty's approximation of the quantile of chi-squared
    part = 2 / (9 * freedom)
    return 2 * freedom * (1 - part + _Z * math.sqrt(part)) ** 3 / rows
