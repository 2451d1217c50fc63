"""What the benchmark of the server makes of figures; the measuring itself is not tested."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import serving
from benchmarks.serving import Bar, ContenderError, Found, Pair, Slot
from roadworthy.bundles import bundle

ABOUT = {
    "date": "2026-01-02",
    "cpu": "a processor",
    "cores": 2,
    "load": 0.1,
    "python": "3.11.7",
    "wrk": "wrk 4.1.0",
    "rounds": 3,
    "seconds": 1,
}
PRINTED = """Running 1s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  3046 requests in 2.00s, 1.19MB read
Requests/sec:   1523.00
FOUND 3046 2000000 0 20500.0 41250.0
"""
rates = st.floats(min_value=1, max_value=1e6)


def pair(ours: float, theirs: float) -> Pair:
    """Return a pair whose latencies go with the rates."""
    return Pair(*(Slot(rate, 1000 / rate, 2000 / rate) for rate in (ours, theirs)))


def found(name: str, *pairs: Pair) -> Found:
    by_kind = {kind: list(pairs) for kind in serving.KINDS}
    return Found(name, f"{name} 1.0", by_kind, first=[1.0, 3.0, 1.5], resident=[100.0, 20.0])


@pytest.fixture
def ours() -> Found:
    return Found("Roadworthy, V1", "roadworthy 1.0", first=[0.9, 2.0, 1.1], resident=[130.0])


def test_what_wrk_prints_is_read_as_requests_a_second_and_milliseconds():
    assert serving.slot(PRINTED) == Slot(1523.0, 20.5, 41.25)


def test_a_slot_with_failed_requests_is_none():
    with pytest.raises(ContenderError, match="fails 17 of 3046 requests"):
        serving.slot(PRINTED.replace("2000000 0", "2000000 17"))


@pytest.mark.parametrize("printed", ["", "unable to connect", "FOUND 0 1000000 0 0.0 0.0\n"])
def test_no_answer_is_not_a_slot(printed):
    with pytest.raises(ContenderError, match="does not answer under load"):
        serving.slot(printed)


@given(st.lists(st.tuples(rates, rates), min_size=1, max_size=9), st.floats(0.1, 10))
def test_a_ratio_does_not_depend_on_how_fast_the_machine_was_at_a_pair(figures, drift):
    steady = [pair(mine, other) for mine, other in figures]
    drifting = [
        pair(mine * drift**index, other * drift**index)
        for index, (mine, other) in enumerate(figures)
    ]

    assert serving.median(drifting, serving.rate) == pytest.approx(
        serving.median(steady, serving.rate)
    )


def test_a_bar_is_met_at_its_bound():
    assert Bar("ratio", 6, 6, at_least=True).met
    assert not Bar("ratio", 5.99, 6, at_least=True).met
    assert Bar("share", 0.2, 0.2).met
    assert not Bar("share", 0.21, 0.2).met


def test_each_bar_is_judged_by_the_median_pair(ours):
    slow = [pair(100, 10), pair(100, 50), pair(700, 100)]

    judged = serving.bars(
        [ours, found("Roadworthy, V2", pair(120, 100)), found(serving.STOCK, *slow)]
    )

    assert [(bar.figure, bar.met) for bar in judged] == [
        (pytest.approx(7), True),
        (pytest.approx(1 / 7), True),
        (pytest.approx(7), True),
        (pytest.approx(1 / 7), True),
        (pytest.approx(1.2), True),
        (pytest.approx(1.2), True),
        (1.1, True),
        (130.0, True),
    ]


def test_a_contender_that_is_not_measured_is_told_and_judges_nothing(ours):
    refused = Found(serving.STOCK, "kserve 1.0", why="answers 3.0 as mpg of golden row 0, not 4.0")
    other = found("BentoML", pair(100, 50))

    lines = serving.report([ours, refused, other], ABOUT)

    assert [bar.bound for bar in serving.bars([ours, refused, other])] == [2.5, 175]
    assert lines[-1].strip() == (
        f"Not measured: {serving.STOCK} answers 3.0 as mpg of golden row 0, not 4.0"
    )
    assert not any(line.startswith(f"| {serving.STOCK}") for line in lines)


def test_the_table_gives_ratios_medians_and_what_was_missed(ours):
    slow = found(serving.STOCK, pair(400, 100), pair(800, 100), pair(500, 100))

    lines = serving.report([ours, slow], ABOUT)

    assert "1 row a request, 32 connections:" in lines
    assert "| Roadworthy, V1 | 500 | 1.00 | 2.00 | 4.00 |" in lines
    assert f"| {serving.STOCK} | 100 | 5.00 | 10.00 | 20.00 |" in lines
    assert f"| {serving.STOCK} | {serving.STOCK} 1.0 | 1.50 | 120 | 2 |" in lines
    assert any("≥ 6 | 5 | **missed**" in line for line in lines)
    assert any("≤ 2.5 | 1.1 | met" in line for line in lines)


def test_every_figure_can_be_written_as_json(ours):
    document = serving.document([ours, found("BentoML", pair(100, 50))], ABOUT)

    read = json.loads(json.dumps(document))

    assert read["servers"][1]["pairs"][0]["theirs"]["rate"] == 50
    assert len(read["servers"][1]["pairs"]) == len(serving.KINDS)
    assert {bar["met"] for bar in read["bars"]} == {True}


def test_golden_answers_are_compared_row_by_row(packed: bundle.Bundle):
    answers = packed.golden.answers
    wrong = [row | {"mpg": row["mpg"] + (index == 3)} for index, row in enumerate(answers)]
    serving.check_answers([dict(row) for row in answers], answers)

    with pytest.raises(ContenderError, match="answers 19 rows to 20"):
        serving.check_answers(answers[:-1], answers)
    with pytest.raises(ContenderError, match="as mpg of golden row 3"):
        serving.check_answers(wrong, answers)
    with pytest.raises(ContenderError, match="answers None as"):
        serving.check_answers([{} for _ in answers], answers)


def test_rows_become_tensors_and_tensors_become_rows():
    rows = [{"weight_kg": 1200.0, "year": 1980, "origin": "usa"}] * 2

    tensors = serving.asks_v2(rows)["inputs"]

    assert [(part["datatype"], part["shape"]) for part in tensors] == [
        ("FP64", [2]),
        ("INT64", [2]),
        ("BYTES", [2]),
    ]
    assert serving.answers_v2({"outputs": tensors}) == rows
    assert serving.asks_mlserver(rows)["inputs"][2]["parameters"] == {"content_type": "str"}


@pytest.mark.parametrize("name", ["stock_kserve", "mlserver", "mlflow", "bentoml", "plain_fastapi"])
def test_every_environment_is_locked_by_hashes_and_names_no_index(name):
    lock = (serving.SERVERS / f"{name}.txt").read_text()
    wanted = (serving.SERVERS / f"{name}.in").read_text().split()

    for requirement in wanted:
        package, _, pinned = requirement.partition("==")
        locked = serving.locked_version(lock, package.partition("[")[0])
        assert pinned in {"", locked}
    assert "--hash=sha256:" in lock
    assert "index-url" not in lock
    assert "://" not in lock


def test_a_package_that_is_not_locked_is_no_version():
    with pytest.raises(ValueError, match="no kserve"):
        serving.locked_version("kserve-storage==1.0\n", "kserve")
