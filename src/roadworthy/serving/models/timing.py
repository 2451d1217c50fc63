"""The clock of the models: the same for every version, wherever the server runs it."""

from __future__ import annotations

import time
from typing import NamedTuple

from roadworthy.bundles.scoring import Columns, Scorer, Stop


class Run(NamedTuple):
    """The answers of a graph, and the CPU time in seconds that it took."""

    answers: Columns
    seconds: float


def run(scorer: Scorer, columns: Columns, stop: Stop | None = None) -> Run:
    """Run a graph in this thread.

    The time is that of the thread on the CPU. A graph runs in one thread and waits for nothing, so
    this is its own time: waiting for a core, for the interpreter's lock or in a queue, which the
    load of the server decides, is not in it.

    Raises
    ------
    Exception
        As :meth:`roadworthy.bundles.scoring.Scorer.score`.
    """
    began = time.thread_time()
    answers = scorer.score(columns, stop)
    return Run(answers, time.thread_time() - began)
