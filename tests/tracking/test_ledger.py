"""A ledger keeps every change of the champion, each once, and those of the release before."""

from datetime import UTC, datetime

import pytest

from roadworthy.tracking import ledger
from roadworthy.tracking.registry import Version


def version(number, **tags):
    return Version("fuel", number, "run", datetime.now(UTC), (), tags)


def test_every_change_is_kept_in_its_order():
    first = ledger.entry("promoted", at="2026-01-01T01:00:00+01:00", by="ada", why="better")
    assert first == ledger.entry("promoted", at="2026-01-01T00:00:00Z", by="ada", why="better")
    back = ledger.entry("restored", at="2026-01-03T00:00:00Z", by="bob", why="by hand")
    off = ledger.entry("rolled back", at="2026-01-03T00:00:00Z", by="bob", why="by hand")
    # given version 1 with two entries, 2 of the release before, and 3 that was never promoted
    one = version(1, **first, **back, promoted_at="2026-01-01T00:00:00+00:00", gate_reasons="good")
    two = version(2, **off, promoted_at="2026-01-02T00:00:00+00:00", promoted_by="eve")

    found = ledger.read([version(3), two, one])

    told = [(entry.at[:10], entry.version, entry.event, entry.by) for entry in found]
    assert told == [
        ("2026-01-01", 1, "promoted", "ada"),
        ("2026-01-02", 2, "promoted", "eve"),
        ("2026-01-03", 1, "restored", "bob"),
        ("2026-01-03", 2, "rolled back", "bob"),
    ]
    assert found[0].gate == "good"


def history(*events):
    """The versions of a model with a ledger of one event a day, ``1`` promoted, ``<1`` restored."""
    tags = {}
    for day, (word, number) in enumerate(events, start=1):
        event = {"+": "promoted", "<": "restored", "-": "rolled back"}[word]
        entry = ledger.entry(event, at=f"2026-01-{day:02}T00:00:00Z", by="ada", why="")
        of = tags.setdefault(int(number), {})
        of |= entry | {"rolled_back": "by ada" if word == "-" else ""}
    return [version(number, **of) for number, of in tags.items()]


@pytest.mark.parametrize(
    ("events", "champion", "before"),
    [
        (["+1", "+2"], 2, 1),
        (["+1"], 1, 0),
        (["+1", "+2", "+3", "-3", "<2"], 2, 1),
        (["+1", "+2", "+3", "-3", "<1"], 1, 0),
        (["+1", "+2", "+3", "-3", "<1", "+4"], 4, 1),
        (["+1", "+2", "-2", "<1", "+2"], 2, 1),
    ],
)
def test_the_predecessor_is_the_version_that_served_before(events, champion, before):
    assert ledger.predecessor(history(*events), champion) == before
