"""A new model: what its files hold, that they work, and that nothing is half-written."""

import csv
import io
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.errors import RoadworthyError
from roadworthy.data.dvc import DvcError
from roadworthy.data.git import NoCloneError
from roadworthy.scaffolding import Scaffold, ScaffoldError, scaffold
from roadworthy.scaffolding.rendering import Reached
from roadworthy.scaffolding.table import TableError, determined_by, outward, read_columns

BIN = Path(sys.executable).parent
COPIED = (
    *("src", "components", "pipelines", "pyproject.toml", ".importlinter"),
    *(".dvc/config", ".dvc/.gitignore", ".dvcignore"),
)
HULLS = ("glass", "steel", "wood")
finite = st.floats(min_value=-1e9, max_value=1e9)


def boats(rows=120, seed=0):
    """Lines of a CSV file of boats: missing draughts and hulls, one missing length."""
    chance = random.Random(seed)
    lines = ["beam_m,draught_m,hull,berths,boat,length_m"]
    for number in range(rows):
        beam, draught = chance.uniform(2, 5), chance.uniform(0.5, 2.5)
        hull = chance.choice(HULLS)
        length = 2.6 * beam + draught + HULLS.index(hull) + chance.gauss(0, 0.4)
        told = (
            f"{beam:.2f}",
            "" if chance.random() < 0.1 else f"{draught:.2f}",
            "" if chance.random() < 0.05 else hull,
            "" if chance.random() < 0.1 else str(chance.randint(1, 6)),
            f"boat {number}",
            "" if number == 17 else f"{length:.2f}",
        )
        lines.append(",".join(told))
    return lines


def below(lines, pattern, replacement):
    """The lines with something replaced everywhere but in the header."""
    return [lines[0], *(re.sub(pattern, replacement, line, count=1) for line in lines[1:])]


def table(lines, target="length_m", task=None):
    text = io.StringIO("\n".join(lines))
    frame = pd.read_csv(text, dtype=str, keep_default_na=False, na_values=[""])
    return read_columns(frame, target, task)


def git(path, *words):
    done = subprocess.run(["git", *words], cwd=path, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def start(path):
    """Make a directory a clone with one commit."""
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "config", "user.name", "Somebody")
    git(path, "config", "user.email", "somebody@localhost")
    git(path, "add", "--all", "--force")
    git(path, "commit", "--quiet", "--message", "Start")


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A clone of the project's code: copied where a test changes it."""
    target = tmp_path_factory.mktemp("project") / "clone"
    for name in COPIED:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(root / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(root / name, place)
    (target / ".gitignore").write_text("__pycache__/\n")
    start(target)
    return target


@pytest.fixture
def clone(project, tmp_path):
    return Path(shutil.copytree(project, tmp_path / "clone"))


@pytest.fixture(scope="module")
def begun(project, tmp_path_factory) -> Scaffold:
    """A clone in which a model of boats was started. The tests leave it as it is."""
    target = shutil.copytree(project, tmp_path_factory.mktemp("begun") / "clone with space")
    data = tmp_path_factory.mktemp("data") / "measured.csv"
    data.write_text("\n".join(boats()) + "\n")
    return scaffold(Path(target), "boats", data, "length_m")


def run(clone, *words):
    """Run a program in a clone, whose code goes first."""
    return subprocess.run(
        words,
        cwd=clone,
        env={"PYTHONPATH": f"{clone}/src", "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


# What a table holds


def test_columns_are_numbers_words_or_text_with_what_was_found():
    found = table(boats())

    kinds = {column.name: column.kind for column in found.columns}
    assert kinds == {
        **dict.fromkeys(("beam_m", "draught_m", "berths", "length_m"), "number"),
        "hull": "string",
        "boat": "text",
    }
    columns = {column.name: column for column in found.columns}
    assert columns["hull"].choices == HULLS
    assert (columns["berths"].lowest, columns["berths"].highest) == (1, 6)
    assert [name for name, column in columns.items() if column.whole] == ["berths"]
    missing = [name for name, column in columns.items() if column.missing]
    assert missing == ["draught_m", "hull", "berths", "length_m"]
    assert found.required == ("beam_m",)
    assert (columns["beam_m"].unit, columns["hull"].unit) == ("m", "1")


@pytest.mark.parametrize(
    ("target", "asked", "task", "reason"),
    [
        ("length_m", None, "regression", "length_m holds numbers"),
        ("hull", None, "classification", "hull holds strings, 3 different ones"),
        ("berths", None, "classification", "berths holds only 6 different whole numbers"),
        ("berths", "regression", "regression", "as --task says"),
        ("berths", "classification", "classification", "as --task says"),
    ],
)
def test_the_target_decides_on_the_task_unless_told(target, asked, task, reason):
    found = table(boats(), target, asked)

    assert found.chosen == (task, reason)
    if task == "classification":
        assert list(found.probabilities.values()) == list(found.answer.choices)
        assert all(re.fullmatch("probability_[a-z0-9_]+", name) for name in found.probabilities)


def test_codes_that_look_like_numbers_in_part_are_strings():
    # given a column whose first half are codes such as A/5 1000, the others 1000
    lines = boats()
    half = [re.sub(",boat (\\d+),", r",A/5 \1,", line) for line in lines[:60]]

    found = table([*half, *(re.sub(",boat ", ",", line) for line in lines[60:])])

    assert found.named("text") == ("boat",)


def test_a_spelling_of_missing_is_a_choice_of_strings_and_missing_among_numbers():
    lines = boats()

    found = table([*lines[:60], *below(["", *lines[60:]], "wood|steel|glass", "None")[1:]])
    numbers = table([lines[0], *below(["", *lines[1:9]], "^[^,]*", "NA")[1:], *lines[9:]])

    assert "None" in next(column.choices for column in found.columns if column.name == "hull")
    beam = numbers.columns[0]
    assert (beam.kind, beam.missing) == ("number", True)


@pytest.mark.parametrize(
    ("target", "names"),
    [("length", ("beam", "berths")), ("mass", ()), ("hull", ("paint",)), ("flag", ())],
)
def test_columns_that_give_the_target_away_are_named(target, names):
    # given a length that is a sum of two columns, a paint for each hull, and two columns by chance
    chance = random.Random(0)
    lines = ["beam,berths,length,mass,hull,paint,flag"]
    for number in range(90):
        beam, berths, kind = number / 8, chance.randint(1, 40), number % 3
        told = (beam, berths, 3 * beam + berths, chance.random(), HULLS[kind], f"paint {kind}")
        lines.append(",".join(map(str, (*told, chance.choice(HULLS)))))
    frame = pd.read_csv(io.StringIO("\n".join(lines)), dtype=str)
    columns = [name for name in frame if name != "length"] if target != "length" else list(frame)

    found = determined_by(frame[columns], read_columns(frame[columns], target))

    assert found == names


def test_where_every_column_misses_something_the_first_is_required():
    lines = boats()
    lines[3] = lines[3].replace(lines[3].split(",")[0], "", 1)

    assert table(lines).required == ("beam_m",)


@given(ends=st.tuples(finite, finite).map(sorted))
def test_a_range_is_rounded_outward_and_hardly_widened(ends):
    lowest, highest = ends

    low, high = outward(lowest, highest)

    assert low <= lowest
    assert high >= highest
    span = highest - lowest or max(abs(highest), 1)
    assert high - low <= (highest - lowest) + 0.21 * span


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [line.replace("beam_m", "Beam (m)") for line in lines], "'Beam (m)' to b"),
        (lambda lines: [line.replace("beam_m", "class") for line in lines], "'class' to column_cl"),
        (lambda lines: [line.replace("beam_m", "copy") for line in lines], "'copy' to column_copy"),
        (lambda lines: [line.replace("beam_m", "hull") for line in lines], "'hull.1' to hull_1"),
        (lambda lines: lines[:50], "There are 48 rows with a length_m"),
        (lambda lines: [line.replace("length_m", "mass_kg") for line in lines], "no column 'leng"),
        (
            lambda lines: [*lines, "3,1,wood,2,x,long"],
            "length_m holds a string among numbers: 'long'",
        ),
        (lambda lines: [*lines, "wide,1,wood,2,x,9"], "a string among numbers: 'wide' in line 122"),
        (lambda lines: [*lines, "inf,1,wood,2,x,9"], "not finite: 'inf' in line 122"),
        (lambda lines: below(lines, "^[^,]*", '"1,500"'), "beam_m holds numbers with separators"),
        (lambda lines: below(lines, r"\.(\d\d),", r".\1%,"), "units, '"),
        (lambda lines: below(lines, "^", "EUR "), "write plain numbers with a decimal point"),
        (lambda lines: below(lines, "[^,]*$", "9"), "length_m is 9 in every row"),
        (lambda lines: below(lines, "wood|steel|glass", ""), "hull holds no value"),
        (lambda lines: [line.split(",")[-1] for line in lines], "no column beside length_m"),
    ],
)
def test_a_table_without_a_model_is_refused_in_a_sentence(change, told):
    with pytest.raises(TableError) as caught:
        table(change(boats()))

    sentence = str(caught.value)
    assert told in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("target", "task", "told"),
    [
        ("hull", "regression", "holds a string among numbers: 'wood'|'steel'|'glass'"),
        ("length_m", "classification", r"length_m has \d+ different values, and a classifier"),
        ("berths", "classification", r"The class '9' of berths has 1 rows, and each needs at"),
    ],
)
def test_a_target_that_does_not_fit_the_task_is_refused(target, task, told):
    with pytest.raises(TableError, match=told):
        table([*boats(), "3,1,wood,9,x,9"], target, task)


# What is refused before anything is tried


def unchanged(clone):
    """Whether Git sees no file that was not there; what Python compiles beside modules is none."""
    found = git(clone, "status", "--porcelain", "--ignored", "--untracked-files=all")
    return all("__pycache__" in line for line in found.splitlines())


@pytest.mark.parametrize("name", ["Boats", "2boats", "sail boats", "class", "", "b" * 25, "bo-ats"])
def test_a_name_that_is_no_lowercase_identifier_is_refused(project, name):
    with pytest.raises(ScaffoldError, match="cannot be the name of a model"):
        scaffold(project, name, project / "boats.csv", "length_m")

    assert unchanged(project)


@pytest.mark.parametrize("name", ["fuel", "contract", "onnx_graph"])
def test_a_name_that_is_taken_is_refused(project, name):
    with pytest.raises(ScaffoldError, match=f"{name} exists already: src/roadworthy/models"):
        scaffold(project, name, project / "boats.csv", "length_m")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "There is no file"),
        (b"", "has no header"),
        (b"beam_m,length_m\n", "has no rows"),
        (b"beam_m\n1\n1,2,3\n", "line 3 has 3 fields where the header has 1"),
        ("höhe\n1\n".encode("latin-1"), "not in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(project, tmp_path, content, told):
    data = tmp_path / "boats.csv"
    if content is not None:
        data.write_bytes(content)

    with pytest.raises(ScaffoldError, match=told) as caught:
        scaffold(project, "boats", data, "length_m")

    assert "boats.csv" in str(caught.value)
    assert unchanged(project)


def test_another_file_at_the_place_of_the_data_is_not_overwritten(clone, tmp_path):
    (tmp_path / "boats.csv").write_text("\n".join(boats()))
    (clone / "data").mkdir()
    (clone / "data" / "boats.csv").write_text("mine")

    with pytest.raises(ScaffoldError, match=r"another file data/boats\.csv"):
        scaffold(clone, "boats", tmp_path / "boats.csv", "length_m")

    assert (clone / "data" / "boats.csv").read_text() == "mine"


def test_elsewhere_than_in_a_clone_of_the_project_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(NoCloneError, match="not in a Git repository"):
        scaffold(tmp_path, "boats", tmp_path / "boats.csv", "length_m")

    git(tmp_path, "init", "--quiet")
    with pytest.raises(ScaffoldError, match="not a clone of this project"):
        scaffold(tmp_path, "boats", tmp_path / "boats.csv", "length_m")


# What is written


def test_everything_is_written_and_nothing_else_is_changed(begun):
    listed = git(begun.root, "status", "--porcelain", "--untracked-files=all").splitlines()

    assert sorted(listed) == sorted(f"?? {path}" for path in begun.written)
    assert {str(path) for path in begun.written} >= {
        "src/roadworthy/models/boats/__init__.py",
        "notebooks/boats.ipynb",
        "data/boats.csv.dvc",
        "pipelines/boats.yaml",
    }


def test_the_data_is_under_dvc_and_pushed(begun):
    pointer = (begun.root / "data" / "boats.csv.dvc").read_text()
    digest = re.search("md5: ([0-9a-f]{32})", pointer)[1]

    pushed = begun.root / ".dvc" / "embedded" / "files" / "md5" / digest[:2] / digest[2:]
    assert pushed.read_bytes() == (begun.root / "data" / "boats.csv").read_bytes()


def test_the_bounds_of_the_gate_are_below_what_was_reached(begun):
    evaluation = (begun.root / "src/roadworthy/models/boats/evaluation.py").read_text()
    reached = begun.reached

    assert reached.of("r2") > 0.9
    assert 0.8 < reached.least("r2", 0) < reached.of("r2")
    assert reached.least("r2") < reached.of("r2") - 2 * reached.deviation("r2")
    assert reached.most("mae") > reached.of("mae") + 2 * reached.deviation("mae")
    assert f'Bound("cv_r2", "at least", {reached.least("r2", 0)}' in evaluation
    assert f"# By cross-validation the candidate {reached.candidate} reached\n" in evaluation


def test_a_model_that_learns_nothing_is_held_against_the_mean():
    reached = Reached("linear", {"cv_r2": -0.2, "cv_r2_deviation": 0.1, "cv_mae": 0.0})

    assert (reached.least("r2", 0), reached.least("r2"), reached.most("mae")) == (0.0, 0.0, 0.0)


PARITY = """
import sys
from pathlib import Path
import numpy as np
from roadworthy.models import contract
from roadworthy.bundles.scoring import Scorer

model = contract.load("boats")
assert model.name == "boats" and model.data == "data/boats.csv.dvc"
raw = model.schema.validate(model.dataset.read(Path(sys.argv[1])))
frame, dropped = model.prepare(raw)
assert len(frame) + sum(dropped.values()) == len(raw) == 120 and dropped
train, test = model.split(frame)
assert len(train) + len(test) == len(frame) and 10 < len(test) < 40
again = model.split(frame.iloc[::-1])
assert set(again.test["boat"]) == set(test["boat"])
assert model.behaviour(lambda rows: rows, test) == ()
columns = list(model.Request.model_fields)
optional = [name for name, field in model.Request.model_fields.items() if not field.is_required()]
assert optional == ["draught_m", "berths", "hull"]
for candidate in model.candidates:
    estimator = model.train(candidate, train)
    scorer = Scorer(model.export(estimator).SerializeToString())
    assert list(scorer.inputs) == columns and scorer.outputs == list(model.Answer.model_fields)
    for left_out in ([], *([name] for name in optional), optional):
        absent = {name: "" if name == "hull" else np.nan for name in left_out}
        rows = test[columns].assign(**absent)
        graph = scorer.score({name: rows[name].to_numpy() for name in columns})
        expected = estimator.predict(rows)["length_m"]
        np.testing.assert_allclose(graph["length_m"], expected, rtol=1e-5)
example = model.Request.model_json_schema()["example"]
assert model.Request(**example).model_dump() == example
print(len(model.candidates), "candidates agree")
"""


def test_the_package_keeps_the_contract_and_its_graph_answers_as_it_does(begun):
    done = run(begun.root, sys.executable, "-c", PARITY, "data/boats.csv")

    assert done.stdout == "4 candidates agree\n", done.stderr


def test_the_notebook_runs_and_has_no_outputs(begun, monkeypatch):
    written = nbformat.read(begun.root / "notebooks" / "boats.ipynb", as_version=4)
    nbformat.validate(written)
    code = [cell for cell in written.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)

    monkeypatch.setenv("PYTHONPATH", f"{begun.root}/src")
    place = {"metadata": {"path": str(begun.root / "notebooks")}}
    nbclient.NotebookClient(written, timeout=120, resources=place).execute()

    assert all("image/png" in output.data for output in code[-1].outputs)


def rows(*columns, count=60):
    """Lines of a CSV file, each column made from the number of the row."""
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow([name for name, _ in columns])
    writer.writerows([value(number) for _, value in columns] for number in range(count))
    return made.getvalue().splitlines()


LONG = "a" * 27
ODD = ('it\'s "red"', "it's", '"grün"', "x\\y", "\u2018blue\u2019")
TABLES = {
    "a" * 24: (
        rows(
            (f"{LONG}_km", lambda n: n * 0.37),
            (f"{LONG}_b", lambda n: "" if n % 7 == 0 else "ab"[n % 2] * 40),
            ("colour", lambda n: ODD[n % 5]),
            (f"{LONG}_c", lambda n: n * 0.5 + n % 5),
        ),
        f"{LONG}_c",
        "regression",
    ),
    "z_1": (
        rows(
            ("id", lambda n: "" if n == 3 else n * 1e-7),
            ("x", lambda n: n % 5 + n / 1000),
            ("kind", lambda n: ODD[n % 5]),
            count=150,
        ),
        "kind",
        "classification",
    ),
}


@pytest.mark.slow
def test_whatever_the_columns_are_the_files_work_and_pass_what_make_lint_runs(
    clone, root, tmp_path
):
    # given what mypy knows of the libraries, and models of tables with odd names and odd strings
    if (root / ".mypy_cache").is_dir():
        shutil.copytree(root / ".mypy_cache", tmp_path / "known")
    for name, (lines, target, task) in TABLES.items():
        data = tmp_path / f"{name}.csv"
        data.write_text("\n".join(lines) + "\n")
        made = scaffold(clone, name, data, target)
        assert made.chosen.task == task
        if task == "regression":
            assert made.reached.of("r2") > 0.5
        else:
            assert made.reached.of("macro_f1") > 0.5

    # when the linters run with the project's configuration, then none complains
    packages = [f"src/roadworthy/models/{name}" for name in TABLES]
    for words in (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "--diff", *packages),
        ("mypy", f"--cache-dir={tmp_path / 'known'}", *packages),
        ("lint-imports", "--no-logo", "--no-cache"),
    ):
        done = run(clone, BIN / words[0], *words[1:])
        assert done.returncode == 0, done.stdout + done.stderr


def test_rows_that_are_all_alike_are_too_few(clone, tmp_path):
    # given a table that says two things again and again
    data = tmp_path / "coins.csv"
    data.write_text("side,value\n" + "heads,1.5\ntails,2.5\n" * 40)

    # when a model is started with it, then it is refused, and nothing is left
    with pytest.raises(ScaffoldError, match="held out, too few of each kind: collect rows"):
        scaffold(clone, "coins", data, "value")
    assert unchanged(clone)


# What fails later is taken back


def spoil_push(clone):
    (clone / "file").write_text("in the way")
    (clone / ".dvc" / "config").write_text(
        "[core]\n    remote = odd\n['remote \"odd\"']\n    url = ../file/in/the/way\n"
    )
    (clone / "data").mkdir()
    (clone / "data" / ".gitignore").write_text("/other.csv\n")


def spoil_compiler(clone):
    (clone / "pipelines" / "compiler.py").write_text("raise SystemExit('error: it is broken')\n")


@pytest.mark.parametrize(
    ("spoil", "error", "told", "place"),
    [
        (spoil_push, DvcError, "could not push data/boats.csv.dvc", "elsewhere"),
        (spoil_compiler, RoadworthyError, "it is broken", "data"),
    ],
)
def test_when_a_part_fails_what_was_written_is_removed(clone, spoil, error, told, place):
    # given a clone in which a later part fails, with other data under DVC or the data in its place
    spoil(clone)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Spoil")
    data = clone / place / "boats.csv"
    data.parent.mkdir(exist_ok=True)
    data.write_text("\n".join(boats()) + "\n")
    before = listed(clone)

    # when a model is started
    with pytest.raises(error, match=told) as caught:
        scaffold(clone, "boats", data, "length_m")

    # then the error says why, and the clone is as it was
    assert "\n" not in str(caught.value)
    assert listed(clone) == before
    assert not (clone / "src/roadworthy/models/boats").exists()
    assert data.read_text().startswith("beam_m,")


def listed(clone):
    """Return what Git sees that is not committed, but for caches."""
    found = git(clone, "status", "--porcelain", "--ignored", "--untracked-files=all").splitlines()
    return [line for line in found if ".dvc/" not in line and "__pycache__" not in line]
