"""A new model: what its files hold, that they work, and that nothing is half-written."""

import csv
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from roadworthy.core.errors import RoadworthyError
from roadworthy.data.dvc import DvcError
from roadworthy.data.git import NoCloneError
from roadworthy.scaffolding import Scaffold, ScaffoldError, scaffold
from roadworthy.scaffolding.rendering import Reached
from tests.scaffolding.boats import boats

BIN = Path(sys.executable).parent
COPIED = (
    *("src", "components", "pipelines", "pyproject.toml", ".importlinter"),
    *(".dvc/config", ".dvc/.gitignore", ".dvcignore"),
)


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
    assert re.search(r"Tolerance\(relative=1e-5, absolute=\de-05\)", evaluation)
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
assert len(frame) + sum(dropped.values()) == len(raw) == 150 and dropped
train, test = model.split(frame)
assert len(train) + len(test) == len(frame) and 15 < len(test) < 50
again = model.split(frame.iloc[::-1])
assert set(again.test["id"]) == set(test["id"])
assert model.key == ("id",)
assert model.behaviour(lambda rows: rows, test) == ()
columns = list(model.Request.model_fields)
optional = [name for name, field in model.Request.model_fields.items() if not field.is_required()]
assert optional == ["draught_m", "berths", "hull"]
assert set(train["built"].str[4:5]) == {"-"} and set(train["sailing"]) == {0.0, 1.0}
for candidate in model.candidates:
    estimator = model.train(candidate, train)
    scorer = Scorer(model.export(estimator).SerializeToString())
    assert list(scorer.inputs) == columns and scorer.outputs == list(model.Answer.model_fields)
    for left_out in ([], *([name] for name in optional), optional, ["built"]):
        absent = {name: "" if name in ("hull", "built") else np.nan for name in left_out}
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
    assert data.read_text().splitlines() == boats()


def listed(clone):
    """Return what Git sees that is not committed, but for caches."""
    found = git(clone, "status", "--porcelain", "--ignored", "--untracked-files=all").splitlines()
    return [line for line in found if ".dvc/" not in line and "__pycache__" not in line]
