"""The clock of a model tells its own time."""

import threading
import time

import numpy as np
import pytest

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


@pytest.mark.parametrize(("turns", "runs"), [(1, 2), (100_000, 1)])
def test_only_a_quick_graph_is_run_again_for_warm_caches(turns, runs, monkeypatch):
    graph, columns = Scorer(graphs.looping(turns)), {"x": np.ones(1)}
    graph.score(columns)
    calls = []
    score = graph.score
    monkeypatch.setattr(graph, "score", lambda *given: calls.append(given) or score(*given))

    run(graph, columns)

    assert len(calls) == runs
