"""Measure detectors of rare events: by event and not by point, and without point adjustment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Spans = npt.NDArray[np.intp]


def spans(marks: npt.ArrayLike) -> Spans:
    """Return the first position and the one after the last of each run of true marks, [runs, 2]."""
    edges = np.diff(np.concatenate([[False], np.asarray(marks, np.bool_), [False]]).astype(np.int8))
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])


@dataclass(frozen=True)
class Events:
    """What alarms found of the labelled events. Get one from :func:`by_event`.

    Parameters
    ----------
    delays
        Of each event the values from its first to the first alarm in it; NaN where none is.
    alarms, false_alarms
        How many runs of alarms there are, and how many of them touch no event.
    values
        How many values were judged.
    """

    delays: tuple[float, ...]
    alarms: int
    false_alarms: int
    values: int

    @property
    def recall(self) -> float:
        """The share of events that were found; 1 where there are none."""
        return float(np.mean(~np.isnan(self.delays))) if self.delays else 1.0

    @property
    def precision(self) -> float:
        """The share of alarms that touch an event; 0 where there is no alarm."""
        return 1 - self.false_alarms / self.alarms if self.alarms else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def delay(self) -> float:
        """The mean delay of the events that were found, in values; NaN where none was."""
        known = [delay for delay in self.delays if not np.isnan(delay)]
        return float(np.mean(known)) if known else float("nan")


def by_event(truth: npt.ArrayLike, alarms: npt.ArrayLike) -> Events:
    """Return what alarms found, both [n]: an event is a run of true labels.

    An event is found by an alarm at any of its values, and an alarm is false that touches none. So
    a long event counts once, and is not counted as found throughout (point-adjusted F1 does that).
    """
    labels, raised = np.asarray(truth, np.bool_), np.asarray(alarms, np.bool_)
    delays = [
        float(np.argmax(raised[start:stop])) if raised[start:stop].any() else float("nan")
        for start, stop in spans(labels)
    ]
    runs = spans(raised)
    false = sum(not labels[start:stop].any() for start, stop in runs)
    return Events(tuple(delays), len(runs), false, len(labels))


def bound_for(
    scores: Sequence[npt.ArrayLike], truth: Sequence[npt.ArrayLike], allowed: float
) -> float:
    """Return the lowest bound above which at most so many false alarms are.

    Parameters
    ----------
    scores, truth
        Of each contiguous piece of a series, [n]. An alarm is false that touches no label.
    allowed
        How many false alarms are allowed on all pieces together.
    """
    found = [np.asarray(piece, np.float64) for piece in scores]
    labels = [np.asarray(piece, np.bool_) for piece in truth]
    everything, calm = np.concatenate(found), ~np.concatenate(labels)
    levels = np.unique(everything)

    def is_allowed(bound: float) -> bool:
        raised = [piece > bound for piece in found]
        false = sum(by_event(*pair).false_alarms for pair in zip(labels, raised, strict=True))
        return false <= allowed and float(np.mean(everything[calm] > bound)) <= _MOST_ABOVE

    # Below some bound, alarms grow together and become fewer: hence the second condition.
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_allowed(levels[middle]) else (middle + 1, high)
    # Between two scores, so that rounding changes no verdict.
    return float(levels[low : low + 2].mean()) if low + 1 < len(levels) else float(levels[low]) + 1


_MOST_ABOVE = 0.1
"""Where more of the values are above a bound, many alarms have grown into one."""


def vus_pr(
    truth: npt.ArrayLike, scores: npt.ArrayLike, *, window: int = 100, thresholds: int = 250
) -> float:
    """Return the volume under the surface of precision and recall, 0 to 1; NaN without events.

    It is the mean, over buffers of 0 to ``window`` values, of the area under the curve of precision
    and recall for ranges: a label fades over half a buffer on both sides of its event as
    ``sqrt(1 - distance / buffer)``, recall is multiplied by the share of events with any alarm,
    and the positives are the mean of the labels and of the faded ones. Thresholds are the scores at
    equally spaced ranks.

    Reference: J. Paparrizos, P. Boniol, T. Palpanas, R. Tsay, A. Elmore, M. Franklin, "Volume Under
    the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly Detection", PVLDB 15(11),
    2022. The values are those of ``RangeAUC_volume_opt`` of its authors.

    Parameters
    ----------
    truth, scores
        Labels and scores of each value, [n]. A higher score is more unusual.
    """
    labels, found = np.asarray(truth, np.bool_), np.asarray(scores, np.float64)
    events = spans(labels)
    if not len(events):
        return float("nan")
    ranks = np.linspace(0, len(found) - 1, thresholds).astype(int)
    limits = -np.sort(-found)[ranks]
    reached = np.searchsorted(-limits, -found)  # the first threshold at which a value is an alarm
    alarms = _up_to(reached, thresholds)
    hits = _up_to(reached[labels], thresholds)
    positions, distances = _beside(labels, events, window // 2)
    near, places = np.unique(positions, return_inverse=True)
    found_events = [
        _share_found(reached, _merged(events, half, len(labels)), thresholds)
        for half in range(window // 2 + 1)
    ]
    areas = np.empty(window + 1)
    for buffer in range(window + 1):
        inside = distances <= buffer // 2
        fades = np.sqrt(1 - distances[inside] / max(buffer, 1))
        faded = np.minimum(np.bincount(places[inside], fades, len(near)), 1)
        around = _up_to(reached[near], thresholds, faded)
        recall = np.minimum((hits + around) / (labels.sum() + around / 2), 1)
        recall = recall * found_events[buffer // 2]
        areas[buffer] = np.dot(np.diff(recall, prepend=0), (hits + around) / alarms)
    return float(areas.mean())


def _up_to(reached: Spans, thresholds: int, weights: Floats | None = None) -> Floats:
    """Return the number, or weight, of the values that are alarms at each threshold."""
    return np.cumsum(np.bincount(reached, weights, thresholds + 1)[:thresholds]).astype(np.float64)


def _beside(labels: Booleans, events: Spans, most: int) -> tuple[Spans, Spans]:
    """Return the unlabelled positions beside events and how far each is, a pair for each event."""
    steps = np.arange(1, most + 1)
    sides = [side for start, stop in events for side in (start - steps, stop - 1 + steps)]
    positions, distances = np.concatenate(sides), np.tile(steps, len(sides))
    kept = (positions >= 0) & (positions < len(labels))
    kept[kept] = ~labels[positions[kept]]
    return positions[kept], distances[kept]


def _share_found(reached: Spans, ranges: list[tuple[int, int]], thresholds: int) -> Floats:
    """Return the share of ranges with an alarm at each threshold."""
    first = np.array([reached[start:stop].min() for start, stop in ranges])
    return _up_to(first, thresholds) / len(ranges)


def _merged(events: Spans, half: int, length: int) -> list[tuple[int, int]]:
    """Return the events with half a buffer on both sides; those that then overlap are one."""
    ranges: list[tuple[int, int]] = []
    for start, stop in events.tolist():
        wide = max(start - half, 0), min(stop + half, length)
        if ranges and wide[0] < ranges[-1][1]:
            wide = ranges.pop()[0], wide[1]
        ranges.append(wide)
    return ranges
