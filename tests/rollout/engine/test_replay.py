"""Stages that a real server recorded under load are replayed through the analysis.

``benchmarks/canary.py record`` recorded them: one bundle was the champion and the challenger of
rollouts under 0 to 250 connections, four stages each.
"""

import json
import math
from itertools import accumulate
from pathlib import Path

import pytest

from roadworthy.rollout.engine.analysis import Bounds, TrafficStats, analyse
from roadworthy.rollout.engine.sampling import total

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures/canary/stages.json").read_text())
BOUNDS = Bounds()
STAGES_OF_ONE = 4


def recorded(stage, factor=1.0):
    """A stage as it was recorded, or as it had been with a challenger so many times as slow."""

    def histogram(trimmed, factor):
        first, counts = trimmed
        edges = [edge * factor for edge in RECORDED["edges"]] + [math.inf]
        padded = [0] * first + counts + [0] * (len(edges) - first - len(counts))
        return dict(zip(edges, accumulate(padded), strict=True))

    counts = ("requests", "failures", "champion_requests", "fallbacks", "shadow")
    return TrafficStats(
        **{name: stage[name] for name in counts},
        seconds=histogram(stage["seconds"], factor),
        champion_seconds=histogram(stage["champion_seconds"], 1.0),
    )


def rollouts(factor=1.0):
    """Yield the analyses of each rollout, up to the first that ends it, and its last traffic."""
    stages = [recorded(stage, factor) for stage in RECORDED["stages"]]
    for start in range(0, len(stages), STAGES_OF_ONE):
        so_far, found = TrafficStats(), []
        for stage in stages[start : start + STAGES_OF_ONE]:
            so_far = so_far.plus(stage)
            found.append(analyse(stage, so_far, BOUNDS))
            if found[-1].problem:
                break
        yield found, so_far


def test_a_healthy_version_is_not_rolled_back_whatever_the_load():
    assert len(RECORDED["stages"]) == 200

    back = [found[-1].problem for found, _ in rollouts() if found[-1].problem]

    assert len(back) <= 1, back


@pytest.mark.parametrize("factor", [3, 10])
def test_a_slower_version_is_caught_or_the_analysis_is_inconclusive(factor):
    enough, caught = 0, 0
    for found, traffic in rollouts(factor):
        if min(total(traffic.seconds), total(traffic.champion_seconds)) < BOUNDS.min_requests:
            median = next(one for one in found[-1].metrics if one.name == "median_ms")
            assert (found[-1].problem, median.conclusive) == ("", False)
            continue
        enough += 1
        caught += "its median is" in found[-1].problem

    assert enough > len(RECORDED["stages"]) / STAGES_OF_ONE / 2
    assert caught >= 0.99 * enough
