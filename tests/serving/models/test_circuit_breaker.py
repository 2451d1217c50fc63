"""A challenger that hangs is stopped; how requests fare is tested with the traffic."""

import asyncio
import gc
import threading
import time

import numpy as np
import pytest

from roadworthy.bundles.scoring import Scorer
from roadworthy.serving.models.circuit_breaker import (
    BreakerLimits,
    ChallengerError,
    CircuitBreaker,
)
from tests import graphs

SHORT = BreakerLimits(seconds=0.2, failures=3, threads=2)


def column(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values)}


async def failure(breaker: CircuitBreaker, *values: float) -> ChallengerError:
    with pytest.raises(ChallengerError) as caught:
        await breaker.score(column(*values))
    return caught.value


def test_an_answer_resets_the_count_of_failures():
    async def ask() -> None:
        for value in (10, 10, 1, 10, 10):
            try:
                await breaker.score(column(value))
            except ChallengerError:
                breaker.record(failed=True)

    breaker = CircuitBreaker(Scorer(graphs.failing()), SHORT)
    asyncio.run(ask())

    assert not breaker.is_open


def test_an_endless_graph_blocks_neither_the_loop_nor_its_threads():
    async def ask(breaker: CircuitBreaker) -> None:
        hanging = [asyncio.create_task(failure(breaker, 1)) for _ in range(4)]
        reasons = [(await one).reason for one in hanging]
        assert reasons[:2] == ["timeout", "timeout"]
        # those that did not get their turn say nothing about the graph
        assert set(reasons) == {"timeout", "busy"}

    before = set(threading.enumerate())
    asyncio.run(ask(CircuitBreaker(Scorer(graphs.looping(graphs.ENDLESS)), SHORT)))

    ended = time.monotonic() + 10
    while not before.issuperset(threading.enumerate()):
        assert time.monotonic() < ended
        gc.collect()  # an exception and its frames hold each other
        time.sleep(0.01)


def test_background_work_waits_for_no_request_and_has_a_time_out():
    scorer = Scorer(graphs.looping(graphs.ENDLESS))
    stopped = threading.Event()

    def work(stop) -> None:
        with pytest.raises(Exception, match="terminate"):
            scorer.score(column(1), stop)
        assert stop.is_set
        stopped.set()

    async def ask() -> None:
        assert breaker.run_in_background(work)
        assert not breaker.run_in_background(work)
        await asyncio.to_thread(stopped.wait, 10)

    breaker = CircuitBreaker(scorer, SHORT)
    asyncio.run(ask())

    assert stopped.is_set()
