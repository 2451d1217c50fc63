"""Two versions on the same hold-out: what is compared, what is left out, and what is said of it."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from roadworthy.bundles.bundle import Bundle
from roadworthy.cli import main
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.models import fuel
from roadworthy.review import comparison
from roadworthy.review.comparison import Comparison, ComparisonError
from roadworthy.tracking.registry import RegistryError

RESAMPLES = 40


def compare(settings: Settings, *both: tuple[str, str]) -> Comparison:
    return comparison.compare(settings, *both, resamples=RESAMPLES)


@pytest.fixture(scope="module")
def compared(released):
    return compare(released.settings, ("fuel", "@champion"), ("fuel", ":2"))


def test_both_are_scored_on_the_hold_out_of_the_newer(compared, halves, simple, packed):
    # given what the model itself says of both estimators on the hold-out
    expected = [fuel.score(_answers(made, halves.test), halves.test) for made in (simple, packed)]
    # then the table has the same numbers, in all and by slice, and their differences
    found = {(line.part, line.metric): line for line in compared.lines}
    for (part, metric), line in found.items():
        first, second = (
            (scores.slices[part] if part else scores.metrics)[metric] for scores in expected
        )
        assert (line.first, line.second) == pytest.approx((first, second))
        assert line.difference == pytest.approx(second - first)
    assert {part for part, _ in found} == {"", "origin=europe", "origin=japan", "origin=usa"}
    assert (compared.held_out, compared.rows, compared.left_out) == ("fuel:2", 84, 0)
    assert any(
        "Neither version was trained on any of these rows" in note for note in compared.notes
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_what_takes_some_time_is_told_at_once(released, monkeypatch, capsys, as_json):
    # given a comparison that ends at once, with an error
    monkeypatch.setattr(main, "settings_here", lambda _: released.settings)
    asked = ["roadworthy", "compare", "fuel:2", "fuel:2", *(["--json"] if as_json else [])]
    monkeypatch.setattr("sys.argv", asked)
    # when it is asked for, then it was told before, unless a program asks
    with pytest.raises(SystemExit):
        main.main()
    told, complained = capsys.readouterr()
    assert told == ""
    begun = complained.startswith("Comparing fuel:2 and fuel:2 on the same rows ...\n")
    assert begun == (not as_json)
    assert "Both are fuel:2" in complained


def test_it_says_which_is_better_and_whether_that_may_be_chance(compared):
    line = next(line for line in compared.lines if (line.part, line.metric) == ("", "r2"))
    assert line.low < line.difference < line.high
    assert line.better == ("fuel:2" if line.difference > 0 else "fuel:1")
    assert line.certain == ("more than chance" in compared.verdict)
    assert line.certain != ("may be chance" in compared.verdict)
    errors = [line for line in compared.lines if line.metric == "mae_mpg"]
    assert all((line.better == "fuel:2") == (line.second < line.first) for line in errors)
    # and a metric with a bound on either side has no better
    assert {line.better for line in compared.lines if line.metric == "coverage"} == {""}


def test_the_rows_on_which_they_differ_most_come_first(compared, halves, simple, packed):
    first, second = (_answers(made, halves.test)["mpg"].to_numpy() for made in (simple, packed))
    most = np.argsort(-np.abs(second / first - 1))[:10]
    assert [row.number for row in compared.differing] == most.tolist()
    row, car = compared.differing[0], halves.test.loc[most[0]]
    assert row.difference == pytest.approx(second[most[0]] - first[most[0]])
    assert row.asked["weight_kg"] == car["weight_kg"]
    assert row.known == {"mpg": car["mpg"], "car_name": car["car_name"]}
    assert row.second["mpg"] == pytest.approx(second[most[0]])


def test_rows_that_one_was_trained_on_are_left_out_and_counted(released, halves, cars):
    # given version 3, whose code held out other rows: most of version 2's hold-out it has seen
    found = compare(released.settings, ("fuel", ":3"), ("fuel", ":2"))
    # then the hold-out is that of 3, the newer, by the code at hand, without what 3 was trained on
    assert found.held_out == "fuel:3"
    assert found.left_out > 40
    assert found.rows + found.left_out == len(halves.test)
    told = f"{found.left_out} of the 84 rows that fuel:3 held out are left out: fuel:3 was trained"
    assert any(note.startswith(told) for note in found.notes)
    # and both give the same answers, in whatever order, which is reported
    assert found.verdict == "fuel:3 and fuel:2 answer every row alike."
    assert found.differing == ()
    assert b"They answer every row alike." in found.to_html()


def test_a_version_with_unknown_training_rows_is_compared_with_a_note(compared, released):
    # given version 5, which answers as version 1
    found = compare(released.settings, ("fuel", ":2"), ("fuel", ":5"))
    # then the numbers mirror those of the comparison of 1 with 2, resampled alike
    assert [line.difference for line in found.lines] == [
        -line.difference for line in compared.lines
    ]
    assert [line.low for line in found.lines if not math.isnan(line.low)] == pytest.approx(
        [-line.high for line in compared.lines if not math.isnan(line.high)]
    )
    assert any(
        note.startswith("Which rows fuel:5 was trained on is unknown") for note in found.notes
    )
    assert not any("Neither" in note for note in found.notes)


@pytest.mark.parametrize(
    ("first", "second", "error", "told"),
    [
        (("fuel", ":2"), ("fuel", ":4"), ComparisonError, "fuel:4 requires model_year, which"),
        (("fuel", ":2"), ("fuel", ":2"), ComparisonError, "Both are fuel:2"),
        (("fuel", "@champion"), ("fuel", ":1"), ComparisonError, "Both are fuel:1"),
        (("fuel", ":2"), ("boats", ":1"), ComparisonError, "are different models"),
        (("fuel", ":2"), ("fuel", ":9"), RegistryError, "no version 9 of fuel; there are: 6, 5, 4"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_sentence(released, first, second, error, told):
    with pytest.raises(error, match=told):
        compare(released.settings, first, second)


def test_the_json_is_plain(compared):
    found = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert (found["first"]["name"], found["second"]["name"]) == ("fuel:1", "fuel:2")
    assert found["resamples"] == RESAMPLES
    assert len(found["answers"]) == found["rows"] == 84


class Page(HTMLParser):
    """What a page holds: its words, how often each tag, and what it would fetch."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.open: list[str] = []
        self.words = ""
        self.fetched: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.fetched += [value for name, value in attributes if name in {"src", "href"}]

    def handle_data(self, data):
        self.words += data


def test_the_page_is_whole_and_needs_nothing_else(compared):
    text = compared.to_html()
    page = Page(text)
    assert page.fetched == []
    assert page.tags["svg"] == 1
    assert not re.search(rb"(fill|stroke): #", text)  # a fixed colour would vanish on dark ground
    assert page.tags["use"] > 3 * 84
    assert "script" not in page.tags
    assert compared.verdict in page.words
    assert str(compared.differing[0].known["car_name"]) in page.words
    if any(line.better and not line.certain for line in compared.lines):
        assert re.search(r"fuel:[12], may be chance", page.words)


def test_labels_are_compared_by_how_often_each_pair_is_answered(compared):
    # given two versions whose answers are labels, of which there are many
    pairs = [("cat", "cat")] * 40 + [("cat", "dog")] * 20 + [(f"bird {n}",) * 2 for n in range(24)]
    row = dataclasses.replace(
        compared.differing[0], first={"kind": "cat"}, second={"kind": "dog"}, difference=math.nan
    )
    labelled = dataclasses.replace(
        compared, answers=tuple(pairs), known=(), output="kind", unit="", differing=(row,)
    )
    # then the page has a table of the pairs, the rare ones together, and no figure of numbers
    counts = labelled.labels
    assert counts.loc["cat", ["cat", "dog"]].tolist() == [40, 20]
    assert counts.shape[0] <= 21
    assert counts.to_numpy().sum() == 84
    page = Page(labelled.to_html())
    assert "svg" not in page.tags
    assert "How many rows both versions label how" in page.words
    json.dumps(labelled.to_dict(), allow_nan=False)


def test_what_stands_in_the_data_is_words_on_the_page(compared):
    worst = "<script>alert(1)</script>"
    row = dataclasses.replace(compared.differing[0], known={"car_name": worst})
    page = Page(dataclasses.replace(compared, differing=(row,)).to_html())
    assert "script" not in page.tags
    assert worst in page.words


def test_the_page_goes_to_the_home_unless_told(compared, released, monkeypatch, tmp_path):
    settings = released.settings.model_copy(update={"home": tmp_path / "home"})
    monkeypatch.setattr(main, "settings_here", lambda _: settings)
    monkeypatch.setattr(comparison, "compare", lambda *_: compared)

    def asked(*options):
        return CliRunner().invoke(main.app, ["compare", "fuel:1", "fuel:2", *map(str, options)])

    done = asked()
    assert done.exit_code == 0
    assert compared.verdict in " ".join(done.stdout.split())
    assert (settings.home / "comparisons" / "fuel-1-fuel-2.html").exists()
    assert json.loads(asked("--json", "--html", tmp_path / "new" / "page.html").stdout)["page"]
    assert (tmp_path / "new" / "page.html").exists()
    (tmp_path / "file").write_text("in the way")
    failed = asked("--html", tmp_path / "file" / "page.html").exception
    assert isinstance(failed, RoadworthyError)
    assert re.search(r"cannot be written to .*--html", str(failed))


@pytest.mark.parametrize("kind", ["int64", "Int64", "float32", "float64"])
def test_a_training_row_is_found_again_whatever_its_values_are_stored_as(kind):
    held_out = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "b": ["x", "y", "z", ""]})
    trained_on = pd.DataFrame({"a": pd.Series([1, 4, 4], dtype=kind), "b": ["y", "", ""], "c": 0})
    assert comparison._seen(trained_on, held_out).tolist() == [False, False, False, True]


def _answers(made: Bundle, rows: pd.DataFrame) -> pd.DataFrame:
    from roadworthy.bundles.scoring import Scorer

    scorer = Scorer(made.graph)
    return pd.DataFrame(scorer.score({name: rows[name] for name in scorer.inputs}), rows.index)
