"""Counters of many pods, added up although pods come, go and restart."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from roadworthy.rollout.engine.analysis import Sample


class Counters:
    """Adds up by how much each series of each pod has grown.

    A deleted pod has no series any more, and a restarted one begins at 0. So a sum over the current
    pods would shrink with their number, and a sum of what was added does not.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, float] = {}
        self._grown: dict[Hashable, tuple[Sample, float]] = {}

    def add(self, pod: Hashable, sample: Sample) -> None:
        """Add a sample of a pod; a value less than the last one is that of a restarted pod.

        Parameters
        ----------
        pod
            Identifies the pod, and perhaps which start of its container.
        """
        name, labels, value = sample
        key = (pod, name, *sorted(labels.items()))
        before = self._last.get(key, 0.0)
        self._last[key] = value
        _, grown = self._grown.get(key, (sample, 0.0))
        self._grown[key] = (sample, grown + (value - before if value >= before else value))

    def samples(self) -> Iterator[Sample]:
        """Yield each series with all that it has grown."""
        for (name, labels, _), grown in self._grown.values():
            yield name, labels, grown
