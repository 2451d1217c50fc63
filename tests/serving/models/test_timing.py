"""The clock of a model tells its own time."""

import threading
import time

import numpy as np

from roadworthy.bundles.scoring import Scorer
from roadworthy.serving.models.timing import run
from tests import graphs


class Waiting:
    """A graph that waits for a core, as on a busy machine, before it computes."""

    def __init__(self, scorer):
        self.scorer = scorer

    def score(self, columns, stop=None):
        time.sleep(0.5)
        return self.scorer.score(columns, stop)


def test_waiting_is_not_in_the_time_and_computing_is_in_any_thread():
    graph = Scorer(graphs.looping(10_000))
    found = []
    for scorer in (graph, Waiting(graph)):
        call = threading.Thread(target=lambda s=scorer: found.append(run(s, {"x": np.ones(1)})))
        call.start()
        call.join()

    computed, waited = found
    assert computed.answers == waited.answers
    assert computed.seconds > 0
    assert waited.seconds < 0.5
