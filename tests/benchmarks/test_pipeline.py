"""What the benchmark of a run makes of figures; the measuring itself is not tested."""

import sys

import pytest

from benchmarks.pipeline import PEERS_BY_NAME, ContenderError, Found, Run, locked, report, timed


def test_ratios_are_medians_over_the_rounds_and_a_missing_contender_says_why():
    ours = Found("Roadworthy", "this commit", [Run(10, 8), Run(30, 8), Run(12, 8)])
    other = Found("Other", "1.0", [Run(20, 4), Run(20, 4), Run(20, 4)])
    absent = Found("Absent", "2.0", why="uv failed: no such package")

    rows = list(report([ours, other, absent]))[2:]

    assert rows == [
        "| Roadworthy | this commit | 12.0 | 1.00 | 8.0 | 1.00 |",
        "| Other | 1.0 | 20.0 | 0.60 | 4.0 | 2.00 |",
        "| Absent | 2.0 | not measured: uv failed: no such package | | | |",
    ]


@pytest.mark.parametrize("peer", PEERS_BY_NAME, ids=lambda peer: peer.name)
def test_a_peer_has_its_lock_and_files(root, peer):
    assert locked(peer.lock)
    assert all((root / "benchmarks" / "peers" / name).exists() for name in peer.files)


def test_a_run_that_fails_is_told_by_its_last_line(tmp_path):
    with pytest.raises(ContenderError, match="failed: no data"):
        timed([sys.executable, "-c", "import sys; sys.exit('no data')"], tmp_path, {})
