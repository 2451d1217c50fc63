"""The clock of the models: the same for every version, wherever the server runs it."""

from __future__ import annotations

import time
from typing import NamedTuple

from roadworthy.bundles.scoring import Columns, Scorer, Stop

_QUICK_SECONDS = 0.001
"""Below it the caches of an idle core, rather than the graph, decide how long a run takes."""


class Run(NamedTuple):
    """The answers of a graph, and the CPU time in seconds that it takes; None if not measured."""

    answers: Columns
    seconds: float | None


def run(scorer: Scorer, columns: Columns, stop: Stop | None = None) -> Run:
    """Run a graph in this thread.

    The time is that of the thread on the CPU. A graph runs in one thread and waits for nothing, so
    this is its own time: waiting for a core, for the interpreter's lock or in a queue, which the
    load of the server decides, is not in it. A quick graph is run again, and the shorter time
    counts: a version that gets few requests finds its data in no cache, which is not its fault.

    Raises
    ------
    Exception
        As :meth:`roadworthy.bundles.scoring.Scorer.score`.
    """
    began = time.thread_time()
    answers = scorer.score(columns, stop)
    ended = time.thread_time()
    seconds = ended - began
    if seconds < _QUICK_SECONDS:
        scorer.score(columns, stop)
        seconds = min(seconds, time.thread_time() - ended)
    return Run(answers, seconds)
