"""A challenger that fails is told to have failed, is stopped, and is given up in the end."""

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
    check_finite,
)
from tests import graphs

SHORT = BreakerLimits(seconds=0.2, failures=3, waiting=4, threads=2)


def column(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values)}


async def failure(breaker: CircuitBreaker, *values: float) -> ChallengerError:
    with pytest.raises(ChallengerError) as caught:
        await breaker.score(column(*values))
    return caught.value


def test_what_answers_is_heard():
    breaker = CircuitBreaker(Scorer(graphs.failing()))

    answers = asyncio.run(breaker.score(column(3, 4)))

    assert answers["y"].tolist() == [3, 4]
    assert not breaker.is_open


@pytest.mark.parametrize(
    ("graph", "value", "reason", "told"),
    [
        (graphs.failing(), 10, "error", "out of"),
        (graphs.rooted(), -1, "error", "not a finite number"),
        (graphs.looping(graphs.ENDLESS), 1, "timeout", "no answer in 0.2 s"),
    ],
)
def test_what_fails_is_told_and_given_up_when_it_is_noted_some_times(graph, value, reason, told):
    async def ask() -> None:
        for _ in range(SHORT.failures):
            assert not breaker.is_open
            error = await failure(breaker, value)
            assert error.reason == reason
            assert told in str(error)
            breaker.record(failed=True)

    breaker = CircuitBreaker(Scorer(graph), SHORT)
    asyncio.run(ask())

    assert breaker.is_open


def test_one_that_answers_again_is_not_given_up():
    async def ask() -> None:
        for value in (10, 10, 1, 10, 10):
            try:
                await breaker.score(column(value))
            except ChallengerError:
                breaker.record(failed=True)

    breaker = CircuitBreaker(Scorer(graphs.failing()), SHORT)
    asyncio.run(ask())

    assert not breaker.is_open


def test_one_without_an_end_holds_neither_the_loop_nor_its_threads():
    async def ask(breaker: CircuitBreaker) -> None:
        hanging = [asyncio.create_task(failure(breaker, 1)) for _ in range(SHORT.waiting)]
        await asyncio.sleep(0.01)
        assert (await failure(breaker, 1)).reason == "busy"
        assert {(await one).reason for one in hanging} == {"timeout"}

    before = set(threading.enumerate())
    asyncio.run(ask(CircuitBreaker(Scorer(graphs.looping(graphs.ENDLESS)), SHORT)))

    ended = time.monotonic() + 10
    while not before.issuperset(threading.enumerate()):
        assert time.monotonic() < ended
        gc.collect()  # an exception and its frames hold each other
        time.sleep(0.01)


def test_what_is_done_aside_waits_for_no_request_and_is_stopped_in_time():
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


def test_nothing_is_done_aside_with_one_that_was_given_up():
    breaker = CircuitBreaker(Scorer(graphs.failing()), SHORT)
    for _ in range(SHORT.failures):
        breaker.record(failed=True)

    assert breaker.is_open
    assert not breaker.run_in_background(lambda _: None)


def test_an_answer_that_is_no_number_is_named():
    check_finite(column(1, 2))
    with pytest.raises(ArithmeticError, match="a x that is not a finite number"):
        check_finite(column(1, np.inf))
