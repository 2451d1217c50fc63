"""A bad challenger is seen, and a good one is not rolled back by chance."""

import math
import random
from bisect import bisect_left
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.rollout.engine.analysis import (
    Bounds,
    TrafficStats,
    analyse,
    read,
)
from roadworthy.rollout.engine.sampling import chance, quantile, stability

BOUNDS = Bounds()
EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, math.inf)
VALUES = (13.4, 19.0, 26.0, 33.0, 38.6, math.inf)  # 5, 25, 50, 75 and 95 % of what is drawn


def histogram(values, edges=EDGES):
    counts = [0] * len(edges)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    return {edge: sum(counts[: n + 1]) for n, edge in enumerate(edges)}


def pair(champion, challenger, **more):
    """What a server counts of the answers of both to the same rows."""
    differences = [abs(new / old - 1) for old, new in zip(champion, challenger, strict=True)]
    return TrafficStats(
        shadow={"compared": len(champion)},
        predictions={"mpg": histogram(challenger, VALUES)},
        champion_predictions={"mpg": histogram(champion, VALUES)},
        differences={"mpg": (sum(differences), len(differences))},
        **more,
    )


def analysed(stats):
    return analyse(stats, stats, BOUNDS)


def metric(analysis, name):
    return next(one for one in analysis.metrics if one.name == name)


def timed(challenger, champion):
    return TrafficStats(
        requests=len(challenger),
        champion_requests=len(champion),
        seconds=histogram(challenger),
        champion_seconds=histogram(champion),
    )


def test_nothing_that_was_counted_is_nothing_that_is_wrong():
    found = analysed(TrafficStats())

    assert found.problem == ""
    names = [one.name for one in found.metrics]
    assert names == ["error_rate", "median_ms", "p99_ms", "psi", "difference"]
    assert not any(one.conclusive for one in found.metrics)
    assert all(one.passed and one.value is None for one in found.metrics)


@pytest.mark.parametrize(
    ("counts", "rate", "bad"),
    [
        (TrafficStats(requests=1000), 0.0, False),
        (TrafficStats(requests=990, fallbacks={"error": 10}), 0.01, False),
        (TrafficStats(requests=980, fallbacks={"error": 30}), 30 / 1010, True),
        (TrafficStats(requests=1000, failures=30), 0.03, True),
        (TrafficStats(requests=18, fallbacks={"timeout": 2}), 0.1, False),
        (TrafficStats(requests=2, fallbacks={"timeout": 3}), 0.6, True),
        (TrafficStats(shadow={"error": 3}), 1.0, True),
        (TrafficStats(shadow={"timeout": 5, "skipped": 900}), 1.0, True),
        (TrafficStats(requests=900, shadow={"compared": 40, "error": 10}), 0.2, True),
        (TrafficStats(requests=100, fallbacks={"breaker": 500}), 5 / 6, True),
    ],
)
def test_what_it_fails_is_a_rate_and_a_hiccup_is_none(counts, rate, bad):
    found = analysed(counts)

    assert metric(found, "error_rate").value == pytest.approx(rate)
    assert metric(found, "error_rate").passed != bad
    assert bool(found.problem) == bad


def test_a_slow_challenger_is_seen_by_the_champions_times():
    found = analysed(timed([0.002] * 190 + [0.3] * 10, [0.002] * 1000))

    assert "its 99th percentile is" in found.problem
    assert metric(found, "p99_ms").value > 100
    assert found.champion_p99_ms == pytest.approx(2, abs=1)


@pytest.mark.parametrize("count", [40, 1000])
def test_a_model_of_a_tenth_of_a_millisecond_that_takes_three_times_as_long_is_seen(count):
    edges = [10 ** (n / 10) for n in range(-50, 11)] + [math.inf]
    chance_of = random.Random(count)
    champion = [1e-4 * chance_of.lognormvariate(0, 0.3) for _ in range(count)]

    def against(factor):
        challenger = [factor * 1e-4 * chance_of.lognormvariate(0, 0.3) for _ in range(count)]
        return analysed(
            TrafficStats(
                seconds=histogram(challenger, edges), champion_seconds=histogram(champion, edges)
            )
        )

    assert "its median is" in against(3).problem
    assert against(1).problem == ""


def test_one_that_is_three_times_as_slow_in_few_requests_is_inconclusive():
    found = analysed(timed([0.006] * 19, [0.002] * 1000))

    assert found.problem == ""
    assert not metric(found, "median_ms").conclusive


def test_requests_that_did_not_get_their_turn_are_no_failures():
    busy = TrafficStats(requests=900, fallbacks={"busy": 100})

    found = analysed(busy)

    assert (metric(found, "error_rate").value, found.problem) == (0, "")
    # but a version that has no time to answer is not promoted unless its time is known
    assert found.inconclusive == "it had no time for 100 of 1000 requests"
    enough = timed([0.002] * 900, [0.002] * 900)
    known = {"seconds": enough.seconds, "champion_seconds": enough.champion_seconds}
    assert analysed(replace(busy, **known)).inconclusive == ""


@pytest.mark.parametrize(("different", "passes"), [(20, True), (1000, False)])
def test_answers_to_rows_that_are_sent_again_and_again_are_no_larger_sample(different, passes):
    # given versions that differ by more than a shift of as many rows as were compared
    of = ["a"] * 500 + ["b"] * 500
    now = ["a"] * 300 + ["c"] * 200 + ["b"] * 500
    found = replace(labelled(of, now), effective_rows=different)

    assert (analysed(found).problem == "") == passes
    assert metric(analysed(found), "psi").conclusive != passes


def test_two_hiccups_and_few_requests_are_not_slow():
    assert analysed(timed([0.002] * 60 + [0.4] * 2, [0.002] * 1000)).problem == ""
    few = analysed(timed([0.4] * 19, [0.002] * 1000))
    assert few.problem == ""
    assert not metric(few, "p99_ms").conclusive


def test_a_biased_challenger_is_seen():
    champion = [random.Random(n).uniform(12, 38) for n in range(200)]

    found = analysed(pair(champion, [1.4 * value for value in champion]))

    assert "the field mpg differs from the champion's by 40.0%" in found.problem
    assert "stability index" in found.problem


def labelled(champion, challenger):
    """What a server counts of the labels of both to the same rows."""
    apart = sum(one != other for one, other in zip(champion, challenger, strict=True))
    return TrafficStats(
        shadow={"compared": len(champion)},
        labels={"fate": Counter(challenger)},
        champion_labels={"fate": Counter(champion)},
        differences={"fate": (apart, len(champion))},
    )


def test_a_challenger_that_labels_otherwise_is_seen_and_told_in_words():
    champion = ["up", "down"] * 50

    agreeing = analysed(labelled(champion, champion))
    swapped = analysed(labelled(champion, champion[::-1]))
    shifted = analysed(labelled(champion, ["up"] * 100))

    assert agreeing.problem == ""
    assert metric(agreeing, "difference").value == metric(agreeing, "psi").value == 0
    assert swapped.problem == (
        "the field fate differs from the champion's in 100.0% of the answers, 25.0% is allowed"
    )
    assert "the distribution of the field fate" in shifted.problem
    assert metric(shifted, "difference").value == 0.5


def test_labels_are_read_added_and_counted_since():
    text = "".join(
        'roadworthy_shadow_labels_total{model="m",challenger="2",output="fate",'
        f'role="{role}",label="{label}"}} {count}\n'
        for role, label, count in [
            ("champion", "up", 3),
            ("champion", "down", 1),
            ("challenger", "up", 4),
        ]
    )

    found = read(text, "m", 1, 2)

    assert found.labels == {"fate": {"up": 4}}
    assert found.champion_labels == {"fate": {"up": 3, "down": 1}}
    assert found.plus(found).labels == {"fate": {"up": 8}}
    assert found.plus(found).since(found).champion_labels == found.champion_labels


def test_one_that_always_says_the_same_is_seen():
    champion = [random.Random(n).uniform(12, 38) for n in range(300)]

    found = analysed(pair(champion, [25.0] * 300))

    assert "stability index" in found.problem


@given(st.integers(20, 400), st.integers(0, 10**6), st.floats(0, 0.08), st.floats(-0.05, 0.05))
def test_one_that_was_trained_on_newer_data_is_not_rolled_back_by_chance(rows, seed, noise, shift):
    # a challenger whose answers differ as those of another training do
    chance_of = random.Random(seed)
    champion = [chance_of.uniform(12, 40) for _ in range(rows)]
    challenger = [value * (1 + shift + chance_of.gauss(0, noise)) for value in champion]

    assert analysed(pair(champion, challenger)).problem == ""


@given(st.floats(11, 45), st.floats(0.96, 1.04), st.integers(20, 2000))
def test_where_all_clients_ask_the_same_another_bin_is_no_shift(value, factor, rows):
    assert analysed(pair([value] * rows, [value * factor] * rows)).problem == ""


def test_chance_explains_what_two_samples_of_one_distribution_differ_by():
    chance_of = random.Random(1)
    for rows in (20, 100, 1000):
        exceeded = 0
        for _ in range(300):
            one, other = ([chance_of.randrange(8) for _ in range(rows)] for _ in range(2))
            bins = [[sample.count(n) for n in range(8)] for sample in (one, other)]
            exceeded += stability(*bins) > chance(8, rows)
        assert exceeded <= 3


@given(st.lists(st.floats(1e-4, 2), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, fraction):
    true = sorted(values)[math.ceil(fraction * len(values)) - 1]
    upper = EDGES[bisect_left(EDGES, true)]
    lower = max([0.0, *[edge for edge in EDGES if edge < true]])

    found = quantile(histogram(values), fraction)

    assert lower - 1e-12 <= found <= (lower if math.isinf(upper) else upper) + 1e-12


def test_no_number_is_a_problem_whatever_the_rest():
    counts = TrafficStats(differences={"mpg": (math.nan, 30)}, shadow={"compared": 30})

    found = analysed(counts)

    assert "is not a number" in found.problem
    assert metric(found, "difference").value is None


def test_growth_is_what_came_since_and_a_new_server_begins_anew():
    before = TrafficStats(requests=10, fallbacks={"error": 2}, seconds=histogram([0.002] * 10))
    after = TrafficStats(requests=15, fallbacks={"error": 2}, seconds=histogram([0.002] * 15))

    grown = after.since(before)

    assert (grown.requests, grown.asked, max(grown.seconds.values())) == (5, 5, 5)
    assert before.since(after).requests == 10
    assert max(before.since(after).seconds.values()) == 10
    assert before.plus(grown) == after


def test_the_servers_own_words_are_read():
    text = """
# TYPE roadworthy_requests counter
roadworthy_requests_total{model="fuel",version="3",protocol="v1",status="200"} 90.0
roadworthy_requests_total{model="fuel",version="4",protocol="v1",status="200"} 8.0
roadworthy_requests_total{model="fuel",version="4",protocol="v2",status="503"} 1.0
roadworthy_requests_total{model="boats",version="4",protocol="v1",status="200"} 70.0
# TYPE roadworthy_fallbacks counter
roadworthy_fallbacks_total{model="fuel",version="4",reason="timeout"} 2.0
# TYPE roadworthy_shadow counter
roadworthy_shadow_total{model="fuel",challenger="4",outcome="compared"} 50.0
roadworthy_shadow_total{model="fuel",challenger="5",outcome="compared"} 9.0
# TYPE roadworthy_model_seconds histogram
roadworthy_model_seconds_bucket{model="fuel",version="4",le="0.1"} 7.0
roadworthy_model_seconds_bucket{model="fuel",version="4",le="+Inf"} 8.0
# TYPE roadworthy_shadow_difference histogram
roadworthy_shadow_difference_bucket{model="fuel",challenger="4",output="mpg",le="+Inf"} 50.0
roadworthy_shadow_difference_count{model="fuel",challenger="4",output="mpg"} 50.0
roadworthy_shadow_difference_sum{model="fuel",challenger="4",output="mpg"} 0.5
"""
    found = read(text, "fuel", champion=3, challenger=4)

    assert (found.requests, found.failures, found.champion_requests) == (9, 1, 90)
    assert (found.fallbacks, found.shadow) == ({"timeout": 2}, {"compared": 50})
    assert found.seconds == {0.1: 7, math.inf: 8}
    assert found.differences == {"mpg": (0.5, 50)}
    assert (found.asked, found.compared, found.traffic) == (11, 50, 142)


def test_a_few_slow_answers_of_a_busy_machine_are_no_slow_challenger():
    busy = timed([0.004] * 95 + [0.09] * 5, [0.004] * 400)
    slow = timed([0.004] * 90 + [0.09] * 10, [0.004] * 400)

    assert analysed(busy).problem == ""
    assert "99th percentile" in analysed(slow).problem


def test_a_slow_challenger_that_is_asked_little_is_seen_by_the_whole_rollout():
    rollout = timed([0.3] * 24, [0.004] * 400)

    found = analyse(timed([0.3] * 8, [0.004] * 40), rollout, BOUNDS)

    assert "99th percentile" in found.problem


WIDE = (16.0, 22.0, 30.0, 36.0, math.inf)


def answered(champion, challenger, edges=VALUES, batch=1):
    """What pods count of answers, each version's to requests of its own, of so many rows each."""
    return TrafficStats(
        requests=len(challenger) / batch,
        champion_requests=len(champion) / batch,
        answers={"mpg": histogram(challenger, edges)},
        champion_answers={"mpg": histogram(champion, VALUES)},
    )


@given(seed=st.integers(0, 10**6), count=st.integers(1, 300))
def test_answers_to_other_requests_that_are_alike_are_no_shift(seed, count):
    draw = random.Random(seed).gauss
    mine, theirs = [draw(26, 7) for _ in range(count)], [draw(26, 7) for _ in range(400)]

    for edges in (VALUES, WIDE):
        assert analysed(answered(theirs, mine, edges)).problem == ""


@pytest.mark.parametrize("edges", [VALUES, WIDE])
def test_answers_to_other_requests_that_shifted_are_seen_unless_they_came_in_batches(edges):
    draw = random.Random(1).gauss
    mine, theirs = [draw(60, 7) for _ in range(200)], [draw(26, 7) for _ in range(2000)]

    assert "the distribution of the field mpg" in analysed(answered(theirs, mine, edges)).problem
    found = analysed(answered(theirs, mine, edges, batch=10))
    assert found.problem == ""
    assert not metric(found, "psi").conclusive


def test_one_row_that_all_clients_send_may_be_answered_a_bin_apart():
    assert analysed(answered([25.9] * 500, [26.1] * 500)).problem == ""
    assert "field mpg" in analysed(answered([25.9] * 500, [40.0] * 500)).problem


def test_labels_of_other_requests_are_compared():
    labels = {"answer_labels": {"kind": {"a": 90}}, "champion_answer_labels": {"kind": {"b": 90}}}

    found = analysed(TrafficStats(requests=90, champion_requests=90, **labels))

    assert "the distribution of the field kind" in found.problem
