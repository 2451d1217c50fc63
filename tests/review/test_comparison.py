"""Two versions on the same hold-out: what is compared, what is left out, and what is said of it."""

import dataclasses
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Bundle
from roadworthy.cli import main
from roadworthy.core.settings import Settings
from roadworthy.data import dvc
from roadworthy.models import fuel
from roadworthy.review import comparison
from roadworthy.review.comparison import Comparison, ComparisonError
from roadworthy.tracking.registry import Registry, RegistryError

WHO = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")


RESAMPLES = 40


def compare(settings: Settings, *both: tuple[str, str]) -> Comparison:
    return comparison.compare(settings, *both, resamples=RESAMPLES)


class Releases:
    """A Git remote with the project's code and data, a DVC remote, and a registry."""

    def __init__(self, place: Path, root: Path, registry: Path) -> None:
        self.work = place / "work"
        shutil.copytree(root / "src", self.work / "src", ignore=shutil.ignore_patterns("*.pyc"))
        for name in ("components/a.py", "pipelines/a.py", "requirements/pipeline.txt"):
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text("# one\n")
        (self.work / ".dvc").mkdir()
        for name in (".dvc/config", "data.csv.dvc"):
            shutil.copyfile(root / name, self.work / name)
        shutil.copytree(root / ".dvc" / "embedded", place / "dvc")
        shutil.copytree(registry, place / "home" / "mlflow")
        self.settings = Settings(
            home=place / "home", dvc_remote_url=str(place / "dvc"), actor="tester"
        )
        self.registry = Registry.of(self.settings)
        self.git("init", "--quiet", "--initial-branch=main")
        self.data_hash = dvc.content_hash(self.work / "data.csv.dvc")

    def git(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            ["git", *WHO, *arguments], cwd=self.work, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def release(self, made: Bundle, graph: bytes | None = None) -> int:
        """Release a bundle as one of the code as it stands; return the version's number."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=Work")
        commit = self.git("rev-parse", "HEAD")
        remote = Path(self.settings.git_remote)
        if not remote.exists():
            self.git("clone", "--quiet", "--bare", self.work, remote)
        # The branch holds releases as well: a person's commit goes beside it, as a branch.
        self.git("push", "--quiet", remote, f"HEAD:refs/heads/work-{commit[:8]}")
        manifest = dataclasses.replace(made.manifest, commit=commit, data_hash=self.data_hash)
        files = {name: (made.path / name).read_bytes() for name in made.manifest.files}
        files |= {} if graph is None else {bundle.MODEL: graph}
        released = bundle.write(self.work.parent / f"bundle-{commit[:8]}", manifest, files)
        facts = {"made_of": commit, "parameters": {}, "metrics": {}, "tags": {}, "figures": {}}
        run_id = self.registry.log_candidate("fuel", name="any", **facts)
        version = self.registry.register("fuel", run_id=run_id, digest=released.digest, tags={})
        releases.publish(self.settings, released, version.git_tag)
        return version.number

    def rewrite(self, name: str, old: str, new: str) -> None:
        file = self.work / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


def renamed(graph: bytes, old: str, new: str) -> bytes:
    """Return a graph that takes the same under another name."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    for node in model.graph.input:
        node.name = new if node.name == old else node.name
    return model.SerializeToString()


def turned_round(graph: bytes) -> bytes:
    """Return a graph that gives the same outputs in another order."""
    model = onnx.load_from_string(graph)
    outputs = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def released(root, packed, simple, empty_registry, tmp_path_factory) -> Releases:
    """Version 1 is simple and the champion, 2 is the chosen candidate, 3 is 2 from other code that
    holds other rows out, 4 asks for the year under another name, 5 is from code that cannot prepare
    its data here, and 6 is 2 with its outputs in another order."""
    made = Releases(tmp_path_factory.mktemp("compared"), root, empty_registry)
    assert made.release(simple) == 1
    assert made.release(packed) == 2
    dataset = "src/roadworthy/models/fuel/dataset.py"
    made.rewrite(dataset, "_SEED = 47", "_SEED = 48")
    assert made.release(packed) == 3
    made.rewrite(dataset, "_SEED = 48", "_SEED = 47")
    assert made.release(packed, renamed(packed.graph, "year", "model_year")) == 4
    made.rewrite(dataset, "def split(", "def divide(")
    assert made.release(simple) == 5
    made.rewrite(dataset, "def divide(", "def split(")
    assert made.release(packed, turned_round(packed.graph)) == 6
    made.registry.set_alias(made.registry.version("fuel", 1), "champion")
    return made


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
    assert any("Neither was trained on any of these rows" in note for note in compared.notes)


def test_other_code_is_told_of_only_where_it_is_other(compared):
    assert not any("code at hand" in note for note in compared.notes)


def test_the_same_outputs_in_another_order_are_the_same_answer(released):
    found = compare(released.settings, ("fuel", ":2"), ("fuel", ":6"))
    assert found.verdict == "fuel:2 and fuel:6 answer every row alike."
    assert {(line.difference, line.low, line.high) for line in found.lines} == {(0.0, 0.0, 0.0)}


def test_why_a_metric_has_no_better_is_told(compared):
    without = {line.metric for line in compared.lines} - {"r2", "mae_mpg"}
    (told,) = [note for note in compared.notes if note.startswith("No version is called better by")]
    named, _, reason = told.partition(": ")
    assert all(metric in named for metric in without)
    assert "r2" not in named
    assert reason.startswith("the model's criteria do not say whether more or less")


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
    most = np.argsort(-np.abs(second - first))[:10]
    assert [row.number for row in compared.differing] == most.tolist()
    row, car = compared.differing[0], halves.test.loc[most[0]]
    assert row.difference == pytest.approx(second[most[0]] - first[most[0]])
    assert row.asked["weight_kg"] == car["weight_kg"]
    assert row.known == {"mpg": car["mpg"], "car_name": car["car_name"]}
    assert row.second["mpg"] == pytest.approx(second[most[0]])


def test_the_same_comparison_again_is_the_same_and_the_other_way_round_its_mirror(
    compared, released
):
    assert compare(released.settings, ("fuel", ":1"), ("fuel", ":2")) == compared
    mirror = compare(released.settings, ("fuel", ":2"), ("fuel", ":1"))
    assert [line.difference for line in mirror.lines] == [
        -line.difference for line in compared.lines
    ]
    assert [line.better for line in mirror.lines] == [line.better for line in compared.lines]


def test_rows_that_one_was_trained_on_are_left_out_and_counted(released, halves, cars):
    # given version 3, whose code held out other rows: most of version 2's hold-out it has seen
    found = compare(released.settings, ("fuel", ":3"), ("fuel", ":2"))
    # then the hold-out is that of 3, the newer, by the code at hand, without what 3 was trained on
    assert found.held_out == "fuel:3"
    assert found.left_out > 40
    assert found.rows + found.left_out == len(halves.test)
    told = f"{found.left_out} of the 84 rows that fuel:3 held out were left out: fuel:3 was trained"
    assert any(note.startswith(told) for note in found.notes)
    assert any("which is not that of fuel:3" in note for note in found.notes)
    # and as both have the same graph, that is said
    assert found.verdict == "fuel:3 and fuel:2 answer every row alike."
    assert found.differing == ()
    assert b"They answer every row alike." in found.to_html()


def test_a_version_whose_training_rows_cannot_be_known_is_told_of(released):
    found = compare(released.settings, ("fuel", ":2"), ("fuel", ":5"))
    assert any(note.startswith("Which rows fuel:5 was trained on is not") for note in found.notes)
    assert not any("Neither" in note for note in found.notes)


@pytest.mark.parametrize(
    ("first", "second", "error", "told"),
    [
        (("fuel", ":2"), ("fuel", ":4"), ComparisonError, "fuel:4 asks for model_year, which"),
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


def test_the_page_is_whole_and_needs_nothing_else(compared, tmp_path, released):
    file = comparison.write(released.settings, compared, tmp_path / "new" / "page.html")
    page = Page(file.read_bytes())
    assert page.fetched == []
    assert page.tags["svg"] == 3
    assert page.tags["circle"] == 84
    assert "script" not in page.tags
    assert compared.verdict in page.words
    assert str(compared.differing[0].known["car_name"]) in page.words
    if any(line.better and not line.certain for line in compared.lines):
        assert re.search(r"fuel:[12], may be chance", page.words)
    assert "nan" not in re.findall(r'="(nan|inf)', file.read_text())


def test_what_stands_in_the_data_is_words_on_the_page(compared):
    worst = "<script>alert(1)</script>"
    row = dataclasses.replace(compared.differing[0], known={"car_name": worst})
    page = Page(dataclasses.replace(compared, differing=(row,)).to_html())
    assert "script" not in page.tags
    assert worst in page.words


def test_the_page_goes_to_the_home_unless_told(compared, released, tmp_path):
    found = comparison.write(released.settings, compared)
    assert found == released.settings.home / "comparisons" / "fuel-1-fuel-2.html"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ComparisonError, match=r"cannot be written to .*--html"):
        comparison.write(released.settings, compared, tmp_path / "file" / "page.html")


def test_a_row_is_the_same_only_if_all_of_it_is():
    held_out = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "b": ["x", "y", "z", ""]})
    trained = pd.DataFrame({"a": [np.nan, 1.0, 4.0, 4.0], "b": ["z", "y", "", ""]})
    assert comparison._seen(trained, held_out).tolist() == [False, False, True, True]
    assert comparison._seen(None, held_out).tolist() == [False] * 4
    assert not comparison._seen(pd.DataFrame({"c": [1.0]}), held_out).any()


@pytest.mark.parametrize(
    ("kind", "other"),
    [("int64", "float64"), ("Int64", "float64"), ("float32", "float64"), ("bool", "int64")],
)
def test_a_row_is_the_same_whatever_its_numbers_are_kept_as(kind, other):
    # given rows that differ in the numbers alone, which the two sides keep as other types
    held_out = pd.DataFrame({"a": pd.Series([1, 0, 1], dtype=kind), "b": ["x", "x", "y"]})
    trained = pd.DataFrame({"a": pd.Series([1, 1], dtype=other), "b": ["x", "y"]})
    # then the number still tells them apart
    assert comparison._seen(trained, held_out).tolist() == [True, False, True]
    assert comparison._seen(held_out, trained).tolist() == [True, True]


def test_a_rounded_number_and_a_category_are_found_again():
    held_out = pd.DataFrame({"a": [0.1, 0.2], "b": pd.Categorical(["x", "y"])})
    trained = held_out.assign(a=held_out["a"].astype("float32"), b=["x", "x"])
    assert comparison._seen(trained, held_out).tolist() == [True, False]


def test_an_interval_that_few_draws_know_is_not_known():
    assert comparison._interval([], 0.0) == (0.0, 0.0)
    assert math.isnan(comparison._interval([1.0, math.nan], 1.0)[0])
    low, high = comparison._interval([float(of) for of in range(101)], 50.0)
    assert (low, high) == pytest.approx((2.5, 97.5))


FIGURE = st.floats(-1e9, 1e9, allow_nan=False)


@given(st.lists(FIGURE, min_size=1, max_size=30))
def test_every_axis_has_ticks_within_it(values):
    axis = comparison._axis(values, 0, 100)
    places = [place for place, _ in axis.ticks]
    assert 2 <= len(places) <= 12
    assert all(-0.1 <= place <= 100.1 for place in places)
    assert places == sorted(places)
    assert all(-0.1 <= axis.at(value) <= 100.1 for value in values)


@given(st.lists(st.tuples(FIGURE, FIGURE), max_size=30))
def test_every_answer_can_be_drawn(answers):
    drawn = comparison._against(answers)
    assert all(0 <= x <= 400 and 0 <= y <= 400 for x, y in drawn["points"])
    bars = comparison._spread(answers)["bars"]
    assert all(height > 0 for _, _, _, height in bars)


def _answers(made: Bundle, rows: pd.DataFrame) -> pd.DataFrame:
    from roadworthy.bundles.scoring import Scorer

    scorer = Scorer(made.graph)
    return pd.DataFrame(scorer.score({name: rows[name] for name in scorer.inputs}), rows.index)
